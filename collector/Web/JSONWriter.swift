import QueryMath

/// Writes JSON into bytes, value by value; commas come by themselves.
///
/// A value inside an object follows its `key`. Bytes that are not UTF-8 become U+FFFD.
package struct JSONWriter: Sendable {
    package private(set) var bytes: [UInt8] = []
    private var needsComma = false

    package init(capacity: Int = 1024) { bytes.reserveCapacity(capacity) }

    /// `{ … }` around what `body` writes.
    package mutating func object(_ body: (inout JSONWriter) -> Void) {
        beginObject()
        body(&self)
        endObject()
    }

    /// `[ … ]` around what `body` writes.
    package mutating func array(_ body: (inout JSONWriter) -> Void) {
        beginArray()
        body(&self)
        endArray()
    }

    // For what is written in pieces; who begins ends.
    mutating func beginObject() { open(UInt8(ascii: "{")) }
    mutating func endObject() { close(UInt8(ascii: "}")) }
    mutating func beginArray() { open(UInt8(ascii: "[")) }
    mutating func endArray() { close(UInt8(ascii: "]")) }

    /// Hands over what has been written; what is written next follows it.
    mutating func take() -> [UInt8] {
        let piece = bytes
        bytes = []
        bytes.reserveCapacity(piece.count)
        return piece
    }

    package mutating func key(_ name: String) {
        string(name)
        bytes.append(UInt8(ascii: ":"))
        needsComma = false
    }

    package mutating func string(_ text: String) {
        separate()
        var text = text
        text.withUTF8 { quote($0) }
    }

    /// A line or other text that may not be UTF-8.
    package mutating func string(bytes text: [UInt8]) {
        separate()
        let isValid = text.withUnsafeBufferPointer { buffer in
            guard buffer.allSatisfy({ $0 < 0x80 }) else { return false }
            quote(buffer)
            return true
        }
        guard !isValid else { return }
        var repaired = String(decoding: text, as: UTF8.self)
        repaired.withUTF8 { quote($0) }
    }

    package mutating func number(_ value: Int64) {
        separate()
        bytes += Array(String(value).utf8)
    }

    /// A JSON number; what JSON can't say (NaN, infinities) is null.
    package mutating func number(_ value: Double) {
        separate()
        bytes += Array((value.isFinite ? GoFloat.json(value) : "null").utf8)
    }

    package mutating func boolean(_ value: Bool) {
        separate()
        bytes += Array((value ? "true" : "false").utf8)
    }

    package mutating func null() {
        separate()
        bytes += Array("null".utf8)
    }

    /// Milliseconds as seconds with three decimals or none. Source: Prometheus `jsonutil.MarshalTimestamp`.
    package mutating func seconds(ofMilliseconds milliseconds: Int64) {
        separate()
        if milliseconds < 0 { bytes.append(UInt8(ascii: "-")) }
        let (whole, rest) = milliseconds.magnitude.quotientAndRemainder(dividingBy: 1000)
        GoFloat.append(whole, to: &bytes)
        guard rest != 0 else { return }
        bytes.append(UInt8(ascii: "."))
        for divisor in [100, 10, 1] as [UInt64] {
            bytes.append(48 + UInt8(rest / divisor % 10))
        }
    }

    /// `[seconds, "value"]`.
    package mutating func sample(_ milliseconds: Int64, _ value: Double) {
        open(UInt8(ascii: "["))
        seconds(ofMilliseconds: milliseconds)
        bytes.append(UInt8(ascii: ","))
        bytes.append(UInt8(ascii: "\""))
        GoFloat.append(json: value, to: &bytes)
        bytes.append(UInt8(ascii: "\""))
        close(UInt8(ascii: "]"))
    }

    private mutating func separate() {
        if needsComma { bytes.append(UInt8(ascii: ",")) }
        needsComma = true
    }

    private mutating func open(_ bracket: UInt8) {
        separate()
        bytes.append(bracket)
        needsComma = false
    }

    private mutating func close(_ bracket: UInt8) {
        bytes.append(bracket)
        needsComma = true
    }

    /// Escapes what JSON must, and `<`, `>`, `&` so that no browser can read an answer as markup.
    private mutating func quote(_ text: UnsafeBufferPointer<UInt8>) {
        bytes.append(UInt8(ascii: "\""))
        var plainStart = 0
        for (index, byte) in text.enumerated() {
            guard let escape = Self.escape(byte) else { continue }
            bytes.append(contentsOf: text[plainStart..<index])
            bytes += escape
            plainStart = index + 1
        }
        bytes.append(contentsOf: text[plainStart...])
        bytes.append(UInt8(ascii: "\""))
    }

    private static func escape(_ byte: UInt8) -> [UInt8]? {
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"): return [UInt8(ascii: "\\"), byte]
        case 0x0a: return Array("\\n".utf8)
        case 0x0d: return Array("\\r".utf8)
        case 0x09: return Array("\\t".utf8)
        case 0..<0x20, 0x7f, UInt8(ascii: "<"), UInt8(ascii: ">"), UInt8(ascii: "&"):
            let digits = Array("0123456789abcdef".utf8)
            return Array("\\u00".utf8) + [digits[Int(byte >> 4)], digits[Int(byte & 15)]]
        default: return nil
        }
    }
}
