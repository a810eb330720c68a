import Glibc

/// Reading the kernel's text files without making strings of what is only compared or converted.
enum ProcText {
    /// Calls `body` with each line, without line ends and without empty lines.
    static func forEachLine(_ bytes: [UInt8], _ body: (ArraySlice<UInt8>) -> Void) {
        var start = 0
        while start < bytes.count {
            let end = bytes[start...].firstIndex(of: 10) ?? bytes.count
            if end > start { body(bytes[start..<end]) }
            start = end + 1
        }
    }

    /// The parts of a line between runs of spaces and tabs.
    static func fields(_ line: ArraySlice<UInt8>) -> [ArraySlice<UInt8>] {
        line.split { $0 == 32 || $0 == 9 || $0 == 10 }
    }

    /// A decimal number; nil where another byte or an overflow is in it.
    static func unsigned(_ text: ArraySlice<UInt8>) -> UInt64? {
        guard !text.isEmpty else { return nil }
        var value: UInt64 = 0
        for byte in text {
            guard (48...57).contains(byte) else { return nil }
            let (product, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, sumOverflow) = product.addingReportingOverflow(UInt64(byte - 48))
            guard !overflow, !sumOverflow else { return nil }
            value = sum
        }
        return value
    }

    /// A decimal number as a sample's value: exact below 2^53, rounded to nearest above.
    static func number(_ text: ArraySlice<UInt8>) -> Double? { unsigned(text).map { Double($0) } }

    /// A whole number that may have a minus before it.
    static func signedNumber(_ text: ArraySlice<UInt8>) -> Double? {
        guard text.first == UInt8(ascii: "-") else { return number(text) }
        return number(text.dropFirst()).map { -$0 }
    }

    /// A hexadecimal number without a prefix; nil where another byte or more than 64 bits are in it.
    static func hexadecimal(_ text: ArraySlice<UInt8>) -> UInt64? {
        guard !text.isEmpty else { return nil }
        var value: UInt64 = 0
        for byte in text {
            let digit: UInt8
            switch byte {
            case 48...57: digit = byte - 48
            case 65...70: digit = byte - 55
            case 97...102: digit = byte - 87
            default: return nil
            }
            guard value >> 60 == 0 else { return nil }
            value = value << 4 | UInt64(digit)
        }
        return value
    }

    /// A number with a point or an exponent.
    static func decimal(_ text: ArraySlice<UInt8>) -> Double? { Double(string(text)) }

    /// The text; bytes that are no UTF-8 become U+FFFD, never an error (some DMI and udev data has such bytes).
    static func string(_ text: ArraySlice<UInt8>) -> String {
        String(decoding: text, as: UTF8.self)
    }

    /// The text without spaces and tabs at its ends.
    static func trimmed(_ text: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        var text = text
        while let first = text.first, first == 32 || first == 9 { text.removeFirst() }
        while let last = text.last, last == 32 || last == 9 { text.removeLast() }
        return text
    }

    /// The text without ASCII white space at its ends, line ends included.
    static func stripped(_ text: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        func isWhite(_ byte: UInt8) -> Bool { byte == 32 || (9...13).contains(byte) }
        guard let first = text.firstIndex(where: { !isWhite($0) }),
            let last = text.lastIndex(where: { !isWhite($0) })
        else { return [] }
        return text[first...last]
    }

    static func equals(_ text: ArraySlice<UInt8>, _ literal: StaticString) -> Bool {
        guard text.count == literal.utf8CodeUnitCount else { return false }
        return text.withUnsafeBytes { bytes in
            guard let base = bytes.baseAddress else { return true }
            return memcmp(base, literal.utf8Start, bytes.count) == 0
        }
    }

    static func hasPrefix(_ text: ArraySlice<UInt8>, _ literal: StaticString) -> Bool {
        equals(text.prefix(literal.utf8CodeUnitCount), literal)
    }

    /// The numbers of a kernel list such as `1,3-5,9`; at most 65,536 of them.
    static func list(_ text: ArraySlice<UInt8>) -> [UInt64] {
        var numbers: [UInt64] = []
        for part in text.split(separator: UInt8(ascii: ",")) {
            let ends = part.split(separator: UInt8(ascii: "-")).map(trimmed).map(unsigned)
            guard let first = ends.first ?? nil, let last = ends.last ?? nil, first <= last,
                last < 65_536
            else { continue }
            numbers += first...last
        }
        return numbers
    }

    /// Microseconds that some tasks waited and that all did, of a pressure file's lines `some avg10=0.00 … total=123` and
    /// `full …`. A kind without a line is nil, the whole nil where a line has no total.
    static func pressureTotals(_ bytes: ArraySlice<UInt8>) -> (some: UInt64?, full: UInt64?)? {
        var totals: (some: UInt64?, full: UInt64?)
        for line in bytes.split(separator: 10) {
            let fields = fields(line)
            guard let kind = fields.first, equals(kind, "some") || equals(kind, "full") else {
                continue
            }
            let total = fields.last { hasPrefix($0, "total=") }
            guard let value = total.flatMap({ unsigned($0.dropFirst(6)) }) else { return nil }
            if equals(kind, "some") { totals.some = value } else { totals.full = value }
        }
        return totals
    }
}

extension String {
    /// The digits that a name such as `cpu12` has after `prefix` to its end; nil where anything else follows.
    func numbered(_ prefix: String) -> String? {
        guard utf8.starts(with: prefix.utf8) else { return nil }
        let rest = utf8.dropFirst(prefix.utf8.count)
        guard !rest.isEmpty, rest.allSatisfy({ (48...57).contains($0) }) else { return nil }
        return String(Substring(rest))
    }
}
