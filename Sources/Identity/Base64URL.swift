/// Base64 with the URL alphabet and without padding. Source: RFC 4648 section 5.
enum Base64URL {
    private static let alphabet = Array(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)

    static func encode(_ bytes: [UInt8]) -> String {
        var text: [UInt8] = []
        text.reserveCapacity(bytes.count * 4 / 3 + 2)
        var pending: UInt32 = 0
        var bits = 0
        for byte in bytes {
            pending = (pending << 8) | UInt32(byte)
            bits += 8
            while bits >= 6 {
                bits -= 6
                text.append(alphabet[Int((pending >> UInt32(bits)) & 63)])
            }
        }
        if bits > 0 { text.append(alphabet[Int((pending << UInt32(6 - bits)) & 63)]) }
        return String(decoding: text, as: UTF8.self)
    }

    /// What came of decoding: the bytes, the offset of a character outside the alphabet, or a tail that no encoder makes.
    enum Decoded: Equatable {
        case bytes([UInt8])
        case badCharacter(offset: Int)
        case badTail
    }

    static func decode(_ text: some Collection<UInt8>) -> Decoded {
        var bytes: [UInt8] = []
        var pending: UInt32 = 0
        var bits = 0
        for (offset, character) in text.enumerated() {
            guard let value = value(of: character) else { return .badCharacter(offset: offset) }
            pending = (pending << 6) | value
            bits += 6
            if bits >= 8 {
                bits -= 8
                bytes.append(UInt8((pending >> UInt32(bits)) & 255))
                pending &= (1 << UInt32(bits)) - 1
            }
        }
        // 6 bits left over is a lone character; set bits left over are not canonical.
        guard bits < 6, pending == 0 else { return .badTail }
        return .bytes(bytes)
    }

    private static func value(of character: UInt8) -> UInt32? {
        switch character {
        case 65...90: UInt32(character - 65)
        case 97...122: UInt32(character - 97 + 26)
        case 48...57: UInt32(character - 48 + 52)
        case 45: 62
        case 95: 63
        default: nil
        }
    }
}
