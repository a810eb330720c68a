/// `text` in double quotes with everything unprintable escaped.
/// Source: Go 1.24 `strconv.Quote`.
package func quoted(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars { appendEscaped(scalar, quote: "\"", to: &result) }
    return result + "\""
}

/// Bytes in double quotes; those that are no UTF-8 become `\xff`.
/// Source: Go 1.24 `strconv.Quote`.
package func quoted(bytes: [UInt8]) -> String {
    var result = "\""
    var rest = bytes[...]
    while let first = rest.first {
        let count = validScalarLength(rest)
        if count == 0 {
            result += "\\x" + hexadecimal(UInt32(first), digits: 2)
            rest = rest.dropFirst()
        } else {
            for scalar in String(decoding: rest.prefix(count), as: UTF8.self).unicodeScalars {
                appendEscaped(scalar, quote: "\"", to: &result)
            }
            rest = rest.dropFirst(count)
        }
    }
    return result + "\""
}

/// One scalar in single quotes, as error messages name a character.
func quoted(_ scalar: Unicode.Scalar) -> String {
    var result = "'"
    appendEscaped(scalar, quote: "'", to: &result)
    return result + "'"
}

/// `U+0041 'A'`, as error messages name a character of an escape. Source: Go `%#U`.
func codePoint(_ scalar: Unicode.Scalar) -> String {
    "U+" + hexadecimal(scalar.value, digits: 4).uppercased()
        + (isPrintable(scalar) ? " '\(scalar)'" : "")
}

/// How many bytes the first scalar of `bytes` has, 0 where it is no valid UTF-8.
func validScalarLength(_ bytes: ArraySlice<UInt8>) -> Int {
    guard let first = bytes.first else { return 0 }
    if first < 0x80 { return 1 }
    let count = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2
    guard (0xc2...0xf4).contains(first), bytes.count >= count else { return 0 }
    return String(validating: bytes.prefix(count), as: UTF8.self) == nil ? 0 : count
}

private func appendEscaped(_ scalar: Unicode.Scalar, quote: Unicode.Scalar, to text: inout String) {
    switch scalar {
    case quote, "\\":
        text += "\\"
        text.unicodeScalars.append(scalar)
    case "\u{7}": text += "\\a"
    case "\u{8}": text += "\\b"
    case "\u{c}": text += "\\f"
    case "\n": text += "\\n"
    case "\r": text += "\\r"
    case "\t": text += "\\t"
    case "\u{b}": text += "\\v"
    default:
        if isPrintable(scalar) {
            text.unicodeScalars.append(scalar)
        } else if scalar.value < 0x80 {
            text += "\\x" + hexadecimal(scalar.value, digits: 2)
        } else if scalar.value < 0x10000 {
            text += "\\u" + hexadecimal(scalar.value, digits: 4)
        } else {
            text += "\\U" + hexadecimal(scalar.value, digits: 8)
        }
    }
}

private func isPrintable(_ scalar: Unicode.Scalar) -> Bool {
    if scalar.isASCII { return (0x20..<0x7f).contains(scalar.value) }
    switch scalar.properties.generalCategory {
    case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator,
        .paragraphSeparator, .spaceSeparator:
        return false
    default: return true
    }
}

private func hexadecimal(_ value: UInt32, digits: Int) -> String {
    let text = String(value, radix: 16)
    return String(repeating: "0", count: max(0, digits - text.count)) + text
}
