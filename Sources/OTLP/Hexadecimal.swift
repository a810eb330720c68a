/// The id of a trace or a span in lower-case hexadecimal; empty where it is all zeros, which is none, or has more than 16
/// bytes.
func hexadecimal(_ bytes: some Collection<UInt8>) -> String {
    guard bytes.count <= 16, bytes.contains(where: { $0 != 0 }) else { return "" }
    func digit(_ value: UInt8) -> UInt8 { value + (value < 10 ? 48 : 87) }
    return String(unsafeUninitializedCapacity: 2 * bytes.count) { text in
        var count = 0
        for byte in bytes {
            text[count] = digit(byte >> 4)
            text[count + 1] = digit(byte & 15)
            count += 2
        }
        return count
    }
}
