/// Numbers of entries, as ranges by the sequence that they count in.
struct JournalNumbers: Hashable, Sendable {
    /// Ascending, disjoint.
    private(set) var ranges: [Substring: [ClosedRange<UInt64>]] = [:]

    var isEmpty: Bool { ranges.isEmpty }

    /// O(ranges).
    mutating func insert(_ number: UInt64, of sequenceID: Substring) {
        insert(number...number, of: sequenceID)
    }

    mutating func insert(_ new: ClosedRange<UInt64>, of sequenceID: Substring) {
        var joined = new
        var kept: [ClosedRange<UInt64>] = []
        for range in ranges[sequenceID] ?? [] {
            let isApart =
                range.upperBound < joined.lowerBound && range.upperBound + 1 < joined.lowerBound
                || joined.upperBound < range.lowerBound && joined.upperBound + 1 < range.lowerBound
            if isApart {
                kept.append(range)
            } else {
                joined =
                    min(
                        range.lowerBound, joined.lowerBound)...max(
                        range.upperBound, joined.upperBound)
            }
        }
        kept.insert(
            joined, at: kept.firstIndex { $0.lowerBound > joined.lowerBound } ?? kept.count)
        ranges[sequenceID] = kept
    }

    func contains(_ number: UInt64, of sequenceID: Substring) -> Bool {
        ranges[sequenceID]?.contains { $0.contains(number) } ?? false
    }

    /// How many of the numbers lie in `range`.
    func count(in range: Range<UInt64>, of sequenceID: Substring) -> UInt64 {
        var count: UInt64 = 0
        for own in ranges[sequenceID] ?? [] where own.overlaps(range) {
            count +=
                min(own.upperBound, range.upperBound - 1) - max(own.lowerBound, range.lowerBound)
                + 1
        }
        return count
    }

    /// Forgets the numbers up to and with `number`.
    mutating func remove(through number: UInt64, of sequenceID: Substring) {
        guard let own = ranges[sequenceID] else { return }
        let kept = own.compactMap { range in
            range.upperBound <= number
                ? nil : max(range.lowerBound, number + 1)...range.upperBound
        }
        ranges[sequenceID] = kept.isEmpty ? nil : kept
    }
}

/// A stored position: the cursor of an entry up to which all are given out, and what of the later ones is too.
///
/// The text is the cursor, and where there is something to add `;g=SEQUENCEID:FIRST[-LAST],…` for each sequence, with
/// hexadecimal numbers. libsystemd passes over letters that it does not know, so an older agent reads the cursor all the
/// same. What can't be understood behind the cursor is left out: entries are read twice then, never lost.
struct JournalPosition: Hashable, Sendable {
    var cursor: String
    /// Parts of joined lines that stand behind `cursor` and are given out with their first part.
    var given = JournalNumbers()

    init(cursor: String) { self.cursor = cursor }

    init(bytes: [UInt8]) {
        var kept: [Substring] = []
        for part in String(decoding: bytes, as: UTF8.self).split(
            separator: ";", omittingEmptySubsequences: false)
        {
            guard part.hasPrefix("g="), let colon = part.firstIndex(of: ":") else {
                kept.append(part)
                continue
            }
            let id = part[..<colon].dropFirst(2)
            for text in part[part.index(after: colon)...].split(separator: ",") {
                let ends = text.split(separator: "-").map { UInt64($0, radix: 16) }
                guard let first = ends.first ?? nil, let last = ends.last ?? nil, first <= last
                else { continue }
                given.insert(first...last, of: id)
            }
        }
        cursor = kept.joined(separator: ";")
    }

    var bytes: [UInt8] {
        var text = cursor
        for (id, ranges) in given.ranges.sorted(by: { $0.key < $1.key }) {
            let numbers = ranges.map { range in
                let first = String(range.lowerBound, radix: 16)
                return range.count == 1
                    ? first : "\(first)-\(String(range.upperBound, radix: 16))"
            }
            text += ";g=\(id):\(numbers.joined(separator: ","))"
        }
        return Array(text.utf8)
    }
}
