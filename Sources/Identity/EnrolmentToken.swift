internal import Crypto
package import Model
package import World

/// What an operator copies from the collector to a host so that the host may join: single use, bound to a host name.
///
/// It pins the fleet's authority by the SHA-256 of its public key, so that the first connection is verified too.
/// docs/formats/fleet.md "Token" draws the bytes. The description hides the secret.
package struct EnrolmentToken: Hashable, Sendable, CustomStringConvertible {
    /// 32 random bytes; the collector stores only `secretHash`.
    package var secret: [UInt8]
    /// SHA-256 of the authority's SubjectPublicKeyInfo, 32 bytes.
    package var authorityKeyHash: [UInt8]
    package var fleetPort: UInt16
    package var enrolmentPort: UInt16
    /// Names or addresses under which the collector believes it can be reached, best first; may be empty.
    package var collectorNames: [String]
    /// The host that the token was made for.
    package var host: HostName

    /// What every token begins with, so that secret scanners find it.
    package static let prefix = "ptl_"
    /// Most names a token carries.
    package static let collectorNamesMax = 8
    /// Longest text accepted, in bytes.
    package static let textBytesMax = 4096
    private static let version: UInt8 = 1
    private static let checksumBytes = 4

    /// A token for `host` with a fresh secret. Names longer than 255 bytes, empty ones and those past
    /// `collectorNamesMax` are left out.
    package init(
        host: HostName, authorityKeyHash: [UInt8], fleetPort: UInt16, enrolmentPort: UInt16,
        collectorNames: [String], random: any RandomSource
    ) {
        precondition(authorityKeyHash.count == 32, "a SHA-256 has 32 bytes")
        secret = random.bytes(count: 32)
        self.authorityKeyHash = authorityKeyHash
        self.fleetPort = fleetPort
        self.enrolmentPort = enrolmentPort
        let usable = collectorNames.filter { (1...255).contains($0.utf8.count) }
        self.collectorNames = Array(usable.prefix(Self.collectorNamesMax))
        self.host = host
    }

    /// Reads a token's text; white space around it is ignored. Throws `IdentityError.badToken`.
    package init(text: String) throws(IdentityError) {
        let isSpace = { (b: UInt8) in b == 32 || (9...13).contains(b) }
        let trimmed = text.utf8.drop(while: isSpace).reversed().drop(while: isSpace).reversed()
        let characters = Array(trimmed)
        guard characters.count <= Self.textBytesMax else { throw .badToken(.tooLong) }
        guard characters.starts(with: Self.prefix.utf8) else { throw .badToken(.noPrefix) }
        let bytes: [UInt8]
        switch Base64URL.decode(characters.dropFirst(Self.prefix.utf8.count)) {
        case .bytes(let decoded): bytes = decoded
        case .badCharacter(let offset):
            throw .badToken(.badCharacter(position: offset + Self.prefix.utf8.count + 1))
        case .badTail: throw .badToken(.damaged)
        }
        guard bytes.count > Self.checksumBytes else { throw .badToken(.damaged) }
        let body = Array(bytes.dropLast(Self.checksumBytes))
        guard Self.checksum(body) == Array(bytes.suffix(Self.checksumBytes)) else {
            throw .badToken(.damaged)
        }
        guard body[0] == Self.version else { throw .badToken(.unsupportedVersion(body[0])) }
        var rest = body.dropFirst()
        guard let secret = Self.take(32, from: &rest), let hash = Self.take(32, from: &rest),
            let ports = Self.take(4, from: &rest), let hostText = Self.takeText(from: &rest),
            let host = HostName(hostText), let count = rest.popFirst(),
            count <= Self.collectorNamesMax
        else { throw .badToken(.damaged) }
        var names: [String] = []
        for _ in 0..<count {
            guard let name = Self.takeText(from: &rest) else { throw .badToken(.damaged) }
            names.append(name)
        }
        guard rest.isEmpty else { throw .badToken(.damaged) }
        self.secret = secret
        authorityKeyHash = hash
        fleetPort = UInt16(ports[0]) << 8 | UInt16(ports[1])
        enrolmentPort = UInt16(ports[2]) << 8 | UInt16(ports[3])
        collectorNames = names
        self.host = host
    }

    /// The text that an operator copies: `ptl_` and base64url.
    package var text: String {
        var body: [UInt8] = [Self.version] + secret + authorityKeyHash
        for port in [fleetPort, enrolmentPort] {
            body += [UInt8(port >> 8), UInt8(port & 255)]
        }
        for name in [host.text] {
            body.append(UInt8(name.utf8.count))
            body += name.utf8
        }
        body.append(UInt8(collectorNames.count))
        for name in collectorNames {
            body.append(UInt8(name.utf8.count))
            body += name.utf8
        }
        return Self.prefix + Base64URL.encode(body + Self.checksum(body))
    }

    /// SHA-256 of the secret: what the collector stores and looks up.
    package var secretHash: [UInt8] { Self.hash(ofSecret: secret) }

    /// SHA-256 of a secret as the collector receives it.
    package static func hash(ofSecret secret: [UInt8]) -> [UInt8] {
        Array(SHA256.hash(data: secret))
    }

    package var description: String { "enrolment token for \(host)" }

    private static func checksum(_ body: [UInt8]) -> [UInt8] {
        Array(SHA256.hash(data: body).prefix(checksumBytes))
    }

    private static func take(_ count: Int, from rest: inout ArraySlice<UInt8>) -> [UInt8]? {
        guard rest.count >= count else { return nil }
        defer { rest = rest.dropFirst(count) }
        return Array(rest.prefix(count))
    }

    private static func takeText(from rest: inout ArraySlice<UInt8>) -> String? {
        guard let count = rest.popFirst(), count > 0, let bytes = take(Int(count), from: &rest)
        else { return nil }
        return String(validating: bytes, as: UTF8.self)
    }
}
