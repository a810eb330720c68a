/// Texts as Go's `strings` package changes them: scalar by scalar.
package enum GoText {
    /// In upper case; one letter never becomes two.
    package static func upper(_ text: String) -> String {
        mapped(text, ascii: (97...122, -32)) { scalar in
            let mapping = scalar.properties.uppercaseMapping.unicodeScalars
            return mapping.count == 1 ? mapping.first ?? scalar : scalar
        }
    }

    /// In lower case.
    package static func lower(_ text: String) -> String {
        mapped(text, ascii: (65...90, 32)) { scalar in
            scalar.properties.lowercaseMapping.unicodeScalars.first ?? scalar
        }
    }

    private static func mapped(
        _ text: String, ascii: (range: ClosedRange<UInt8>, shift: Int),
        _ change: (Unicode.Scalar) -> Unicode.Scalar
    ) -> String {
        var text = text
        let simple: [UInt8]? = text.withUTF8 { bytes in
            guard bytes.allSatisfy({ $0 < 128 }) else { return nil }
            return bytes.map { byte in
                ascii.range.contains(byte) ? UInt8(Int(byte) + ascii.shift) : byte
            }
        }
        if let simple { return String(decoding: simple, as: UTF8.self) }
        var result = String.UnicodeScalarView()
        for scalar in text.unicodeScalars { result.append(change(scalar)) }
        return String(result)
    }

    /// The first letter of each word in upper case. Source: Go `strings.Title`.
    package static func title(_ text: String) -> String {
        var result = String.UnicodeScalarView()
        var isInWord = false
        for scalar in text.unicodeScalars {
            if isInWord {
                result.append(scalar)
            } else {
                let mapping = scalar.properties.titlecaseMapping.unicodeScalars
                result.append(mapping.count == 1 ? mapping.first ?? scalar : scalar)
            }
            isInWord = !isSeparator(scalar)
        }
        return String(result)
    }

    private static func isSeparator(_ scalar: Unicode.Scalar) -> Bool {
        if scalar.isASCII {
            let byte = UInt8(scalar.value)
            return !((48...57).contains(byte) || (97...122).contains(byte | 32) || byte == 95)
        }
        let properties = scalar.properties
        if properties.isAlphabetic || properties.numericType == .decimal { return false }
        return properties.isWhitespace
    }

    /// Without the scalars of `set` at the chosen ends. Source: Go `strings.Trim`, `TrimLeft`, `TrimRight`.
    package static func trimmed(
        _ text: String, _ set: String, atStart: Bool = true, atEnd: Bool = true
    ) -> String {
        let set = Set(set.unicodeScalars)
        return trimmed(text, atStart: atStart, atEnd: atEnd) { set.contains($0) }
    }

    /// Without white space at the ends. Source: Go `strings.TrimSpace`.
    package static func trimmedSpace(_ text: String) -> String {
        trimmed(text, atStart: true, atEnd: true) { $0.properties.isWhitespace }
    }

    private static func trimmed(
        _ text: String, atStart: Bool, atEnd: Bool, _ isDropped: (Unicode.Scalar) -> Bool
    ) -> String {
        var scalars = text.unicodeScalars[...]
        if atStart { scalars = scalars.drop(while: isDropped) }
        if atEnd { while let last = scalars.last, isDropped(last) { scalars.removeLast() } }
        return String(scalars)
    }

    /// A Go string literal.
    package static func quoted(_ text: String) -> String { GoFormat.quoted(text) }
}
