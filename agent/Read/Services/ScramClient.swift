import Crypto
import Synchronization

/// Why a SCRAM exchange ends.
package enum ScramError: Error, Hashable, Sendable {
    /// A message is not what the protocol says.
    case malformed(String)
    /// The server's own word for why it refuses.
    case refused(String)
    /// The server does not know the password, nor what is stored of it.
    case wrongSignature
}

/// The client of SCRAM-SHA-256 without channel binding: both sides prove that they know the password, neither says it.
///
///     client                                            server
///     n,,n=,r=nonce                              ──►
///                                                ◄──    r=nonce+more,s=salt,i=iterations
///     c=biws,r=nonce+more,p=proof                ──►
///                                                ◄──    v=signature
///
/// The password is used as its bytes are: SASLprep changes nothing in printable ASCII, which is what setup makes, and
/// PostgreSQL takes the bytes as they are where it can't be applied.
/// Source: RFC 5802, RFC 7677; PostgreSQL 18 "SCRAM-SHA-256 Authentication".
package struct ScramClient: Sendable {
    package static let mechanism = "SCRAM-SHA-256"
    /// More would only keep this program busy; a server's usual number is 4,096.
    package static let iterationsMax = 100_000

    private enum State {
        /// Becomes `answered`.
        case started
        /// Becomes `verified`. The signature that the server must give.
        case answered([UInt8])
        case verified
    }

    private let bare: [UInt8]
    private let nonce: [UInt8]
    private let password: [UInt8]
    private let keys: ScramKeys?
    private var state = State.started

    /// `nonce` is printable ASCII without a comma, never used before. `keys` spare the stretching of a password that
    /// was stretched before. No user is named: PostgreSQL takes the name of the startup message.
    package init(password: String, nonce: String, keys: ScramKeys? = nil) {
        self.nonce = Array(nonce.utf8)
        self.password = Array(password.utf8)
        self.keys = keys
        bare = Array("n=,r=".utf8) + self.nonce
    }

    /// The first message.
    package var first: [UInt8] { Self.header + bare }

    /// Whether the server has shown that it knows the password.
    package var isVerified: Bool {
        guard case .verified = state else { return false }
        return true
    }

    /// The second message, for the server's first one.
    package mutating func answer(_ message: [UInt8]) throws(ScramError) -> [UInt8] {
        guard case .started = state else { throw .malformed("a second SCRAM challenge") }
        let parts = Self.parts(message)
        guard parts.count >= 3, let whole = Self.value("r", parts[0]),
            let salt = Self.value("s", parts[1]).flatMap(Base64Text.decoded),
            let count = Self.value("i", parts[2]).flatMap(ProcText.unsigned)
        else { throw .malformed("a SCRAM challenge without nonce, salt or iterations") }
        guard whole.starts(with: nonce), whole.count > nonce.count, !salt.isEmpty else {
            throw .malformed("a SCRAM challenge with a foreign nonce or an empty salt")
        }
        guard count >= 1, count <= UInt64(Self.iterationsMax) else {
            throw .malformed("\(count) SCRAM iterations; 1 to \(Self.iterationsMax) are taken")
        }
        let pair =
            keys?.pair(password, salt, Int(count))
            ?? ScramKeyPair(password: password, salt: salt, iterations: Int(count))
        let second = Array("c=biws,r=".utf8) + whole
        let comma: [UInt8] = [UInt8(ascii: ",")]
        let signed = bare + comma + message + comma + second
        let stored = KeyedHash.digest(pair.client)
        let mask = KeyedHash(key: stored).code(signed)
        let proof = zip(pair.client, mask).map { $0 ^ $1 }
        state = .answered(KeyedHash(key: pair.server).code(signed))
        return second + Array(",p=".utf8) + Base64Text.encoded(proof)
    }

    /// Takes the server's last message. Throws `wrongSignature` where the server does not know the password.
    package mutating func verify(_ message: [UInt8]) throws(ScramError) {
        guard case .answered(let expected) = state else {
            throw .malformed("a SCRAM signature before the challenge")
        }
        let parts = Self.parts(message)
        if let reason = parts.first.flatMap({ Self.value("e", $0) }) {
            throw .refused(ProcText.string(reason.prefix(100)))
        }
        guard
            let signature = parts.first.flatMap({ Self.value("v", $0) })
                .flatMap(Base64Text.decoded)
        else { throw .malformed("a SCRAM exchange without the server's signature") }
        guard signature.count == expected.count,
            zip(signature, expected).reduce(UInt8(0), { $0 | ($1.0 ^ $1.1) }) == 0
        else { throw .wrongSignature }
        state = .verified
    }

    /// No channel binding.
    private static let header = Array("n,,".utf8)

    private static func parts(_ message: [UInt8]) -> [ArraySlice<UInt8>] {
        message.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false)
    }

    /// What follows `name=`; nil where the part is another.
    private static func value(
        _ name: Unicode.Scalar, _ part: ArraySlice<UInt8>
    ) -> ArraySlice<UInt8>? {
        guard part.starts(with: [UInt8(ascii: name), UInt8(ascii: "=")]) else { return nil }
        return part.dropFirst(2)
    }
}

/// The keys that a password, a salt and a number of iterations stand for, 32 bytes each.
package struct ScramKeyPair: Hashable, Sendable {
    package let client: [UInt8]
    package let server: [UInt8]

    /// O(iterations).
    init(password: [UInt8], salt: ArraySlice<UInt8>, iterations: Int) {
        let salted = KeyedHash(key: KeyedHash.stretched(password, salt, iterations))
        client = salted.code(Array("Client Key".utf8))
        server = salted.code(Array("Server Key".utf8))
    }
}

/// The keys of the last login. A client that logs in again and again stretches its password once, as long as the server
/// keeps the salt; RFC 5802 section 3 allows it. Of the password only a hash is kept.
package final class ScramKeys: Sendable {
    private struct Entry {
        var password: [UInt8]
        var salt: [UInt8]
        var iterations: Int
        var pair: ScramKeyPair
    }

    private let last = Mutex<Entry?>(nil)

    package init() {}

    func pair(_ password: [UInt8], _ salt: ArraySlice<UInt8>, _ iterations: Int) -> ScramKeyPair {
        let hash = KeyedHash.digest(password)
        let known = last.withLock { $0 }
        if let known, known.password == hash, known.iterations == iterations,
            known.salt.elementsEqual(salt)
        {
            return known.pair
        }
        let pair = ScramKeyPair(password: password, salt: salt, iterations: iterations)
        let entry = Entry(password: hash, salt: Array(salt), iterations: iterations, pair: pair)
        last.withLock { $0 = entry }
        return pair
    }
}

/// HMAC with SHA-256. The key is hashed once for many messages, which is what makes stretching a password quick.
/// Source: RFC 2104; RFC 8018 5.2.
struct KeyedHash {
    private var inner = SHA256()
    private var outer = SHA256()

    init(key: [UInt8]) {
        let blockBytes = 64
        var block = key.count > blockBytes ? Self.digest(key) : key
        block += [UInt8](repeating: 0, count: blockBytes - block.count)
        Self.add(block.map { $0 ^ 0x36 }, to: &inner)
        Self.add(block.map { $0 ^ 0x5c }, to: &outer)
    }

    /// The code of `message`, 32 bytes.
    func code(_ message: [UInt8]) -> [UInt8] {
        var inner = inner
        Self.add(message, to: &inner)
        var outer = outer
        inner.finalize().withUnsafeBytes { outer.update(bufferPointer: $0) }
        return Array(outer.finalize())
    }

    static func digest(_ bytes: [UInt8]) -> [UInt8] {
        var hash = SHA256()
        add(bytes, to: &hash)
        return Array(hash.finalize())
    }

    /// PBKDF2 of one block: 32 bytes. O(iterations).
    static func stretched(
        _ password: [UInt8], _ salt: ArraySlice<UInt8>, _ iterations: Int
    ) -> [UInt8] {
        let hash = KeyedHash(key: password)
        var last = hash.code(Array(salt) + [0, 0, 0, 1])
        var result = last
        for _ in 1..<max(1, iterations) {
            last = hash.code(last)
            for index in result.indices { result[index] ^= last[index] }
        }
        return result
    }

    private static func add(_ bytes: [UInt8], to hash: inout SHA256) {
        bytes.withUnsafeBytes { hash.update(bufferPointer: $0) }
    }
}
