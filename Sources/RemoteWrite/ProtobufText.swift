/// Writes the parts of protocol buffers. Source: protobuf.dev, "Encoding".
package enum ProtobufText {
    /// Appends a base 128 number.
    package static func append(varint value: UInt64, to bytes: inout [UInt8]) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }

    /// Bytes that `append(varint:)` writes.
    package static func varintCount(_ value: UInt64) -> Int {
        max(1, (UInt64.bitWidth - value.leadingZeroBitCount + 6) / 7)
    }

    /// Appends field `number` as a number; 0, which is what an absent field says, is left out.
    package static func append(_ number: UInt64, integer: Int64, to bytes: inout [UInt8]) {
        guard integer != 0 else { return }
        append(varint: number << 3, to: &bytes)
        append(varint: UInt64(bitPattern: integer), to: &bytes)
    }

    /// Appends field `number` with `content`, a text or a message, also where that is empty.
    package static func append(
        _ number: UInt64, content: some Collection<UInt8>, to bytes: inout [UInt8]
    ) {
        append(varint: number << 3 | 2, to: &bytes)
        append(varint: UInt64(content.count), to: &bytes)
        bytes.append(contentsOf: content)
    }
}
