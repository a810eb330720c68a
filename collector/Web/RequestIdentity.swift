import World

/// The id by which one request is found again in logs, of this program and of what stands before it.
enum RequestIdentity {
    /// In lower case, as `WebRequest` has its headers.
    static let header = "x-request-id"
    /// Longest id that is taken over, bytes.
    static let bytesMax = 128

    /// The asker's own id where it is one of letters, digits and `-_.:/+=@`, else one made of 128 random bits.
    static func id(of request: WebRequest, random: any RandomSource) -> String {
        if let given = request.headers[header], isSane(given) { return given }
        return hexadecimal(random.next()) + hexadecimal(random.next())
    }

    /// Whether an asker's id may stand in headers and logs as it is.
    static func isSane(_ id: String) -> Bool {
        (1...bytesMax).contains(id.utf8.count)
            && id.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"):
                    true
                default: "-_.:/+=@".utf8.contains(byte)
                }
            }
    }

    private static func hexadecimal(_ value: UInt64) -> String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
