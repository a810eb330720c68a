import Model

/// Builds the byte strings of docs/formats/storage.md: LEB128 counts, length-prefixed UTF-8, big-endian numbers.
struct RecordWriter {
    private(set) var bytes: [UInt8] = []

    mutating func append(count: Int) {
        var rest = UInt64(count)
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }

    mutating func append(_ text: String) {
        append(count: text.utf8.count)
        bytes.append(contentsOf: text.utf8)
    }

    mutating func append(bytes part: [UInt8]) {
        append(count: part.count)
        bytes += part
    }

    mutating func append(_ number: Int64) {
        withUnsafeBytes(of: number.bigEndian) { bytes.append(contentsOf: $0) }
    }

    mutating func append(_ labels: Labels) {
        append(count: labels.count)
        for label in labels {
            append(label.name)
            append(label.value)
        }
    }
}

/// Reads what `RecordWriter` wrote; every read is checked against the end.
struct RecordReader {
    /// The bytes end early or hold an impossible count.
    struct Malformed: Error {}

    private let bytes: [UInt8]
    private var at = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    var isAtEnd: Bool { at == bytes.count }

    mutating func count() throws(Malformed) -> Int {
        var value: UInt64 = 0
        for shift in stride(from: 0, to: 35, by: 7) {
            guard at < bytes.count else { throw Malformed() }
            let byte = bytes[at]
            at += 1
            value |= UInt64(byte & 0x7f) << UInt64(shift)
            if byte & 0x80 == 0 { return Int(value) }
        }
        throw Malformed()
    }

    mutating func text() throws(Malformed) -> String {
        let length = try count()
        guard length <= bytes.count - at else { throw Malformed() }
        defer { at += length }
        return String(decoding: bytes[at..<(at + length)], as: UTF8.self)
    }

    mutating func data() throws(Malformed) -> [UInt8] {
        let length = try count()
        guard length <= bytes.count - at else { throw Malformed() }
        defer { at += length }
        return Array(bytes[at..<(at + length)])
    }

    mutating func number() throws(Malformed) -> Int64 {
        guard bytes.count - at >= 8 else { throw Malformed() }
        defer { at += 8 }
        return bytes[at..<(at + 8)].reduce(0) { $0 << 8 | Int64($1) }
    }

    mutating func labels() throws(Malformed) -> Labels {
        let count = try count()
        var labels: [Label] = []
        for _ in 0..<count { labels.append(Label(try text(), try text())) }
        return Labels(sortedUnchecked: labels)
    }
}

extension Labels {
    /// The exact set as bytes: equal sets have equal keys.
    var key: [UInt8] {
        var writer = RecordWriter()
        writer.append(self)
        return writer.bytes
    }

    /// The set of a key; nil where the bytes are none.
    init?(key: [UInt8]) {
        var reader = RecordReader(key)
        guard let labels = try? reader.labels(), reader.isAtEnd else { return nil }
        self = labels
    }

    /// A JSON object for SQL users; U+0000 is shown as U+FFFD.
    var json: String {
        "{" + map { "\(jsonString($0.name)):\(jsonString($0.value))" }.joined(separator: ",") + "}"
    }

    var containsNUL: Bool {
        contains { $0.name.utf8.contains(0) || $0.value.utf8.contains(0) }
    }
}

/// `text` as PostgreSQL can hold it: U+0000 becomes U+FFFD.
func withoutNUL(_ text: String) -> String {
    guard text.utf8.contains(0) else { return text }
    return String(
        String.UnicodeScalarView(text.unicodeScalars.map { $0 == "\0" ? "\u{FFFD}" : $0 }))
}

func jsonString(_ text: String) -> String {
    var quoted = "\""
    for scalar in text.unicodeScalars {
        switch scalar {
        case "\"": quoted += "\\\""
        case "\\": quoted += "\\\\"
        case "\0": quoted += "\u{FFFD}"
        case "\u{01}"..."\u{1F}":
            let digits = String(scalar.value, radix: 16)
            quoted += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
        default: quoted.unicodeScalars.append(scalar)
        }
    }
    return quoted + "\""
}
