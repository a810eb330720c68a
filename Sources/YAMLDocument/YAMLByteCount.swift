/// Sizes as configuration files write them: `1048576`, `512MiB`, `1.5GB`.
package enum YAMLByteCount {
    /// Bytes; nil where `text` is not a size or exceeds `Int`. KB is 1000, KiB 1024; a fraction needs a unit.
    package static func parse(_ text: String) -> Int? {
        let number = text.prefix { ("0"..."9").contains($0) || $0 == "." }
        var unit = text.dropFirst(number.count)
        while unit.first == " " { unit.removeFirst() }
        guard !number.isEmpty, let factor = factors[unit.lowercased()] else { return nil }
        if let whole = Int(number) {
            let (bytes, overflow) = whole.multipliedReportingOverflow(by: factor)
            return overflow ? nil : bytes
        }
        guard factor > 1, let fraction = Double(number) else { return nil }
        return Int(exactly: (fraction * Double(factor)).rounded())
    }

    private static let factors: [String: Int] = [
        "": 1, "b": 1, "kb": 1000, "mb": 1_000_000, "gb": 1_000_000_000, "tb": 1_000_000_000_000,
        "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
    ]
}

/// A whole number in one of YAML's notations; nil where `text` is none or exceeds `Int`.
func integer(_ text: String) -> Int? {
    var digits = Substring(text)
    var sign = ""
    if let first = digits.first, first == "-" || first == "+" {
        sign = first == "-" ? "-" : ""
        digits = digits.dropFirst()
    }
    var radix = 10
    for (prefix, value) in [("0x", 16), ("0o", 8), ("0b", 2)] where digits.hasPrefix(prefix) {
        radix = value
        digits = digits.dropFirst(2)
    }
    guard let first = digits.first, first != "_", first != "-", first != "+" else { return nil }
    return Int(sign + digits.filter { $0 != "_" }, radix: radix)
}

/// The candidate at most two edits away from `word`; nil where none is near.
func closest(to word: String, in candidates: [String]) -> String? {
    var best: (candidate: String, distance: Int)?
    for candidate in candidates {
        let distance = editDistance(Array(word.utf8.prefix(64)), Array(candidate.utf8.prefix(64)))
        guard distance <= min(2, candidate.utf8.count / 2), distance < best?.distance ?? 3 else {
            continue
        }
        best = (candidate, distance)
    }
    return best?.candidate
}

/// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`. O(n·m).
private func editDistance(_ a: [UInt8], _ b: [UInt8]) -> Int {
    var rows = Array(
        repeating: Array(repeating: 0, count: b.count + 1), count: a.count + 1)
    for i in 0...a.count { rows[i][0] = i }
    for j in 0...b.count { rows[0][j] = j }
    for i in 0..<a.count {
        for j in 0..<b.count {
            let replaced = rows[i][j] + (a[i] == b[j] ? 0 : 1)
            var least = min(replaced, rows[i][j + 1] + 1, rows[i + 1][j] + 1)
            if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] {
                least = min(least, rows[i - 1][j - 1] + 1)
            }
            rows[i + 1][j + 1] = least
        }
    }
    return rows[a.count][b.count]
}
