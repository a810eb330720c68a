/// `pattern` with `(?<name>` spelled `(?P<name>`, which is all that older RE2 versions know.
///
/// Escapes, `\Q…\E` and character classes are left alone.
func rewritingNamedGroups(_ pattern: String) -> String {
    guard pattern.contains("(?<") else { return pattern }
    var result: [UInt8] = []
    var rest = Array(pattern.utf8)[...]
    var isInClass = false
    while let byte = rest.popFirst() {
        result.append(byte)
        switch byte {
        case UInt8(ascii: "\\"):
            guard let escaped = rest.popFirst() else { break }
            result.append(escaped)
            if escaped == UInt8(ascii: "Q"), !isInClass { copyQuotation(&rest, to: &result) }
        case UInt8(ascii: "["):
            guard !isInClass else { break }
            isInClass = true
            // A bracket that comes first, or first after ^, is a member of the class.
            if rest.first == UInt8(ascii: "^") { result.append(rest.removeFirst()) }
            if rest.first == UInt8(ascii: "]") { result.append(rest.removeFirst()) }
        case UInt8(ascii: "]"): isInClass = false
        case UInt8(ascii: "("):
            if !isInClass, rest.starts(with: "?<".utf8) {
                result += Array("?P<".utf8)
                rest.removeFirst(2)
            }
        default: break
        }
    }
    return String(decoding: result, as: UTF8.self)
}

private func copyQuotation(_ rest: inout ArraySlice<UInt8>, to result: inout [UInt8]) {
    while !rest.isEmpty, !rest.starts(with: "\\E".utf8) { result.append(rest.removeFirst()) }
}

/// The texts of a pattern such as `a|b|c` that holds no other metacharacter than `|`; nil for every other pattern and
/// for more than `max` texts. A single plain text is a list of one.
func plainAlternatives(_ pattern: String, max: Int) -> [String]? {
    let metacharacters = Array(#"\.+*?()[]{}^$"#.utf8)
    guard pattern.utf8.allSatisfy({ !metacharacters.contains($0) }) else { return nil }
    let parts = pattern.split(separator: "|", omittingEmptySubsequences: false)
    return parts.count <= max ? parts.map(String.init) : nil
}

/// The bytes with U+FFFD for each byte that is no UTF-8; nil where all are.
/// Source: Go 1.24 `utf8.DecodeRune` (one replacement for each invalid byte).
func repairedIfInvalid(_ bytes: [UInt8]) -> [UInt8]? {
    if String(validating: bytes, as: UTF8.self) != nil { return nil }
    var result: [UInt8] = []
    result.reserveCapacity(bytes.count + 16)
    var index = 0
    while index < bytes.count {
        let end = endOfScalar(in: bytes, at: index)
        let scalar = bytes[index..<end]
        if String(validating: scalar, as: UTF8.self) != nil {
            result += scalar
            index = end
        } else {
            result += [0xef, 0xbf, 0xbd]
            index += 1
        }
    }
    return result
}

/// The index after the scalar at `index`, judged by its first byte and bounded by the end.
func endOfScalar(in bytes: [UInt8], at index: Int) -> Int {
    guard index < bytes.count else { return index + 1 }
    let count =
        switch bytes[index] {
        case 0xc0..<0xe0: 2
        case 0xe0..<0xf0: 3
        case 0xf0...0xff: 4
        default: 1
        }
    return min(bytes.count, index + count)
}
