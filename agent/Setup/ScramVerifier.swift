import Crypto
import FoundationEssentials

/// What a server keeps of a password for SCRAM-SHA-256: enough to check it, too little to use it.
/// Source: RFC 5802, RFC 7677; the text form is PostgreSQL's, `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`.
struct ScramVerifier: Hashable, Sendable {
    static let iterations = 4_096
    static let saltBytes = 16
    /// What is taken from files; more would only keep this program busy.
    private static let iterationsMax = 1_000_000

    var iterations: Int
    var salt: [UInt8]
    var storedKey: [UInt8]
    var serverKey: [UInt8]

    /// `password` must be printable ASCII, for which SASLprep changes nothing.
    init(password: String, salt: [UInt8], iterations: Int = Self.iterations) {
        let salted = Self.stretched(Array(password.utf8), salt, iterations)
        let key = SymmetricKey(data: salted)
        let client = HMAC<SHA256>.authenticationCode(for: Array("Client Key".utf8), using: key)
        self.iterations = iterations
        self.salt = salt
        storedKey = Array(SHA256.hash(data: Array(client)))
        serverKey = Array(
            HMAC<SHA256>.authenticationCode(for: Array("Server Key".utf8), using: key))
    }

    /// Reads the text form; nil where it is none.
    init?(text: String) {
        let parts = text.split(separator: "$", omittingEmptySubsequences: false)
        guard parts.count == 3, parts[0] == "SCRAM-SHA-256" else { return nil }
        let start = parts[1].split(separator: ":", omittingEmptySubsequences: false)
        let keys = parts[2].split(separator: ":", omittingEmptySubsequences: false)
        guard start.count == 2, keys.count == 2, let count = Int(start[0]),
            (1...Self.iterationsMax).contains(count),
            let salt = Data(base64Encoded: String(start[1])),
            let stored = Data(base64Encoded: String(keys[0])), stored.count == 32,
            let server = Data(base64Encoded: String(keys[1])), server.count == 32
        else { return nil }
        iterations = count
        self.salt = Array(salt)
        storedKey = Array(stored)
        serverKey = Array(server)
    }

    var text: String {
        "SCRAM-SHA-256$\(iterations):\(Self.base64(salt))$\(Self.base64(storedKey)):"
            + Self.base64(serverKey)
    }

    func accepts(_ password: String) -> Bool {
        self == ScramVerifier(password: password, salt: salt, iterations: iterations)
    }

    /// PBKDF2 with HMAC-SHA-256 and one block. Source: RFC 8018 5.2.
    private static func stretched(
        _ password: [UInt8], _ salt: [UInt8], _ iterations: Int
    ) -> [UInt8] {
        let key = SymmetricKey(data: password)
        var last = Array(HMAC<SHA256>.authenticationCode(for: salt + [0, 0, 0, 1], using: key))
        var result = last
        for _ in 1..<max(1, iterations) {
            last = Array(HMAC<SHA256>.authenticationCode(for: last, using: key))
            for index in result.indices { result[index] ^= last[index] }
        }
        return result
    }

    private static func base64(_ bytes: [UInt8]) -> String { Data(bytes).base64EncodedString() }
}

/// How an entry of PgBouncer's `auth_file` keeps a password.
enum StoredPassword {
    /// Whether `stored` (plain, `md5…` or SCRAM) belongs to `password`.
    static func accepts(_ stored: String, _ password: String, user: String) -> Bool {
        if stored.hasPrefix("SCRAM-SHA-256$") {
            return ScramVerifier(text: stored)?.accepts(password) ?? false
        }
        if stored.hasPrefix("md5"), stored.utf8.count == 35 {
            return stored == "md5" + hex(Insecure.MD5.hash(data: Array((password + user).utf8)))
        }
        return stored == password && !password.isEmpty
    }

    static func sha256(_ password: String) -> String {
        hex(SHA256.hash(data: Array(password.utf8)))
    }

    private static func hex(_ bytes: some Sequence<UInt8>) -> String {
        let digits = Array("0123456789abcdef")
        return String(bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] })
    }
}
