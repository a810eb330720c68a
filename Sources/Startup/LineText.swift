/// Bytes of a line as it grows.
struct LineText {
    var bytes: [UInt8] = []

    mutating func raw(_ text: String) { bytes += text.utf8 }

    /// Appends `text` escaped as in JSON, at most `bytesMax` bytes of it with the marker of a cut. `isQuoted` false
    /// leaves quotation marks and backslashes alone.
    mutating func escaped(_ text: String, bytesMax: Int, isQuoted: Bool = true) {
        let start = bytes.count
        let marker = LogLine.cutMarker.utf8
        // Where the text can be cut so that the marker still fits.
        var cut = start
        for scalar in text.unicodeScalars {
            if bytes.count - start + marker.count <= bytesMax { cut = bytes.count }
            append(scalar, isQuoted)
            guard bytes.count - start <= bytesMax else {
                bytes.removeSubrange(cut...)
                bytes += marker
                return
            }
        }
    }

    private mutating func append(_ scalar: Unicode.Scalar, _ isQuoted: Bool) {
        switch scalar {
        case "\"", "\\":
            if isQuoted { bytes.append(UInt8(ascii: "\\")) }
            bytes.append(UInt8(scalar.value))
        case "\n": raw("\\n")
        case "\r": raw("\\r")
        case "\t": raw("\\t")
        case _ where Self.isDangerous(scalar):
            let digits = String(scalar.value, radix: 16)
            raw("\\u" + String(repeating: "0", count: max(0, 4 - digits.count)) + digits)
        case _ where scalar.isASCII: bytes.append(UInt8(scalar.value))
        default: bytes += String(scalar).utf8
        }
    }

    /// Controls, line and paragraph separators, and marks that reorder text.
    private static func isDangerous(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0..<0x20, 0x7f..<0xa0, 0x2028...0x202e, 0x200e...0x200f, 0x2066...0x2069, 0xfeff: true
        default: false
        }
    }
}
