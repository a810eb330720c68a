// Texts in lines, which may hold any bytes.

/// Whether `bytes` are UTF-8. O(n), eight bytes at a time where they are ASCII.
func isUTF8(_ bytes: UnsafeBufferPointer<UInt8>) -> Bool {
    var at = 0
    while true {
        at = endOfASCII(bytes, at)
        guard at < bytes.count else { return true }
        let length = lengthOfScalar(bytes, at)
        guard length > 0 else { return false }
        at += length
    }
}

/// The index of the first byte at or after `start` that is not ASCII.
func endOfASCII(_ bytes: UnsafeBufferPointer<UInt8>, _ start: Int) -> Int {
    let raw = UnsafeRawBufferPointer(bytes)
    var at = start
    while at + 8 <= raw.count {
        let word = raw.loadUnaligned(fromByteOffset: at, as: UInt64.self)
        guard word & 0x8080_8080_8080_8080 == 0 else { break }
        at += 8
    }
    while at < raw.count, raw[at] < 0x80 { at += 1 }
    return at
}

/// Bytes of the scalar at `at`; 0 where there is none. Source: Unicode 15, table 3-7.
func lengthOfScalar(_ bytes: UnsafeBufferPointer<UInt8>, _ at: Int) -> Int {
    let first = bytes[at]
    func isTrail(_ offset: Int) -> Bool {
        at + offset < bytes.count && bytes[at + offset] & 0xc0 == 0x80
    }
    switch first {
    case 0..<0x80: return 1
    case 0xc2...0xdf: return isTrail(1) ? 2 : 0
    case 0xe0...0xef:
        guard isTrail(1), isTrail(2) else { return 0 }
        let second = bytes[at + 1]
        if first == 0xe0, second < 0xa0 { return 0 }
        if first == 0xed, second > 0x9f { return 0 }
        return 3
    case 0xf0...0xf4:
        guard isTrail(1), isTrail(2), isTrail(3) else { return 0 }
        let second = bytes[at + 1]
        if first == 0xf0, second < 0x90 { return 0 }
        if first == 0xf4, second > 0x8f { return 0 }
        return 4
    default: return 0
    }
}

/// Appends `bytes` with `replacement` for each byte that is no UTF-8; with `blanksMarks` U+FFFD is replaced too.
/// Source: Go's `range` over a string, which goes byte by byte where there is no scalar.
func appendRepaired(
    _ bytes: UnsafeBufferPointer<UInt8>, replacement: [UInt8], blanksMarks: Bool,
    to result: inout [UInt8]
) {
    var at = 0
    while at < bytes.count {
        let end = endOfASCII(bytes, at)
        if end > at {
            result.append(contentsOf: bytes[at..<end])
            at = end
            continue
        }
        let length = lengthOfScalar(bytes, at)
        if length == 0 {
            result.append(contentsOf: replacement)
            at += 1
        } else if blanksMarks, isMark(bytes, at) {
            result.append(contentsOf: replacement)
            at += 3
        } else {
            result.append(contentsOf: bytes[at..<(at + length)])
            at += length
        }
    }
}

/// Appends a value for a label: what is no UTF-8, and U+FFFD, becomes a space. Source: Loki's `json` and `logfmt`.
func appendBlanked(_ bytes: UnsafeBufferPointer<UInt8>, to result: inout [UInt8]) {
    appendRepaired(bytes, replacement: [0x20], blanksMarks: true, to: &result)
}

/// Appends a value for a label: what is no UTF-8 becomes U+FFFD.
func appendRepaired(_ bytes: UnsafeBufferPointer<UInt8>, to result: inout [UInt8]) {
    appendRepaired(bytes, replacement: [0xef, 0xbf, 0xbd], blanksMarks: false, to: &result)
}

/// Whether there is a byte that is no UTF-8, or U+FFFD.
func hasMark(_ bytes: UnsafeBufferPointer<UInt8>) -> Bool {
    var at = 0
    while true {
        at = endOfASCII(bytes, at)
        guard at < bytes.count else { return false }
        let length = lengthOfScalar(bytes, at)
        if length == 0 || isMark(bytes, at) { return true }
        at += length
    }
}

private func isMark(_ bytes: UnsafeBufferPointer<UInt8>, _ at: Int) -> Bool {
    at + 2 < bytes.count && bytes[at] == 0xef && bytes[at + 1] == 0xbf && bytes[at + 2] == 0xbd
}

/// Appends a field's name as a label's, behind an underscore where something precedes it: blanks around it go, a digit
/// in front gets an underscore, and what is no letter, digit or underscore becomes one. A blank name adds nothing.
/// Source: Loki 3.6 `sanitizeLabelKey`, `appendSanitized`.
func appendSanitized(_ name: UnsafeBufferPointer<UInt8>, to result: inout [UInt8]) {
    let trimmed = trimmedRange(name)
    guard !trimmed.isEmpty else { return }
    let isFirst = result.isEmpty
    if !isFirst { result.append(UInt8(ascii: "_")) }
    if isFirst, (48...57).contains(name[trimmed.lowerBound]) { result.append(UInt8(ascii: "_")) }
    var at = trimmed.lowerBound
    while at < trimmed.upperBound, isOfLabelName(name[at]) { at += 1 }
    result.append(contentsOf: name[trimmed.lowerBound..<at])
    while at < trimmed.upperBound {
        let byte = name[at]
        result.append(isOfLabelName(byte) ? byte : UInt8(ascii: "_"))
        at += byte < 0x80 ? 1 : max(1, lengthOfScalar(name, at))
    }
}

private func isOfLabelName(_ byte: UInt8) -> Bool {
    (97...122).contains(byte | 0x20) || (48...57).contains(byte)
        || byte == UInt8(ascii: "_")
}

/// Without the blanks at both ends, those that Unicode knows included.
private func trimmedRange(_ text: UnsafeBufferPointer<UInt8>) -> Range<Int> {
    var (start, end) = (0, text.count)
    if start < end, (0x21...0x7f).contains(text[start]), (0x21...0x7f).contains(text[end - 1]) {
        return start..<end
    }
    while start < end {
        let length = lengthOfBlank(text, start)
        guard length > 0 else { break }
        start += length
    }
    while start < end {
        let back = (1...3).first { $0 <= end - start && lengthOfBlank(text, end - $0) == $0 }
        guard let back else { break }
        end -= back
    }
    return start..<end
}

/// Bytes of the blank at `at`, 0 where there is another character. Source: Go `unicode.IsSpace`.
private func lengthOfBlank(_ text: UnsafeBufferPointer<UInt8>, _ at: Int) -> Int {
    switch text[at] {
    case 9...13, 32: return 1
    case 0xc2:
        guard at + 1 < text.count else { return 0 }
        return text[at + 1] == 0x85 || text[at + 1] == 0xa0 ? 2 : 0
    case 0xe1, 0xe2, 0xe3:
        guard at + 2 < text.count else { return 0 }
        switch (text[at], text[at + 1], text[at + 2]) {
        case (0xe1, 0x9a, 0x80), (0xe3, 0x80, 0x80), (0xe2, 0x81, 0x9f): return 3
        case (0xe2, 0x80, 0x80...0x8a), (0xe2, 0x80, 0xa8), (0xe2, 0x80, 0xa9),
            (0xe2, 0x80, 0xaf):
            return 3
        default: return 0
        }
    default: return 0
    }
}

/// A text in quotes. Source: Go 1.24 `strconv.Quote`.
func goQuoted(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
        switch scalar {
        case "\"": result += "\\\""
        case "\\": result += "\\\\"
        case "\n": result += "\\n"
        case "\r": result += "\\r"
        case "\t": result += "\\t"
        case "\u{7}": result += "\\a"
        case "\u{8}": result += "\\b"
        case "\u{c}": result += "\\f"
        case "\u{b}": result += "\\v"
        default:
            if scalar.value < 0x20 || scalar.value == 0x7f {
                let digits = String(scalar.value, radix: 16)
                result += "\\x" + (digits.utf8.count < 2 ? "0" : "") + digits
            } else {
                result.unicodeScalars.append(scalar)
            }
        }
    }
    return result + "\""
}
