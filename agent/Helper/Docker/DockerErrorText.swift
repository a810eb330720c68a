import JSONReading

extension JSONText {
    /// `{"message":"…"}`, the form in which Docker reports an error.
    static func message(_ text: String) -> [UInt8] {
        var bytes = Array("{\"message\":".utf8)
        append(text, to: &bytes)
        bytes += "}\n".utf8
        return bytes
    }
}
