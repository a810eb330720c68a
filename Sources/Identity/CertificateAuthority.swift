internal import Crypto
internal import FoundationEssentials
package import Model
internal import SwiftASN1
package import World
internal import X509

/// The collector's built-in certificate authority: one self-signed root that signs every certificate of the fleet.
///
/// Subjects and extensions of signing requests are ignored; the authority writes its own. Identities are SPIFFE ids:
/// `spiffe://<fleet>/agent/<host>` and `spiffe://<fleet>/collector`.
package struct CertificateAuthority: Sendable {
    /// Name of the fleet: the trust domain of its identities.
    package let fleet: String
    package let certificate: FleetCertificate
    private let key: SigningKey

    /// How long certificates live, milliseconds.
    package static let rootLifeMS: Int64 = 3650 * dayMS
    package static let agentLifeMS: Int64 = 7 * dayMS
    package static let serverLifeMS: Int64 = 60 * dayMS
    /// Certificates are valid from this long before they are made, so that a peer whose clock is behind accepts them.
    package static let backdatedMS: Int64 = 60 * 60 * 1000
    /// Longest signing request looked at, bytes.
    package static let requestBytesMax = 8192
    private static let dayMS: Int64 = 24 * 60 * 60 * 1000

    /// Makes a new authority for `fleet` (the rule of host names). Throws `badName` and `cryptography`.
    package init(
        creating fleet: String, random: any RandomSource, now: TimestampMS
    ) throws(IdentityError) {
        guard HostName(fleet) != nil else { throw .badName(fleet) }
        self.fleet = fleet
        key = SigningKey()
        do {
            let name = try DistinguishedName { CommonName("Petrel fleet \(fleet)") }
            let publicKey = Certificate.PublicKey(key.key.publicKey)
            let root = try Certificate(
                version: .v3, serialNumber: makeSerial(random), publicKey: publicKey,
                notValidBefore: now.advanced(byMilliseconds: -Self.backdatedMS).date,
                notValidAfter: now.advanced(byMilliseconds: Self.rootLifeMS).date,
                issuer: name, subject: name,
                extensions: Certificate.Extensions {
                    Critical(BasicConstraints.isCertificateAuthority(maxPathLength: 0))
                    Critical(KeyUsage(keyCertSign: true, cRLSign: true))
                    SubjectKeyIdentifier(hash: publicKey)
                    SubjectAlternativeNames([.uniformResourceIdentifier("spiffe://\(fleet)")])
                },
                issuerPrivateKey: Certificate.PrivateKey(key.key))
            certificate = try FleetCertificate(issued: root)
        } catch {
            throw .cryptography("\(error)")
        }
    }

    /// An authority from its two PEM files. Throws `unreadable`, and `keyMismatch` where they don't belong together.
    package init(keyPEM: String, certificatePEM: String) throws(IdentityError) {
        key = try SigningKey(pem: keyPEM)
        certificate = try FleetCertificate.list(pem: certificatePEM)[0]
        guard key.matches(certificate) else { throw .keyMismatch(path: "the authority's key") }
        guard certificate.isAuthority, let uri = certificate.uris.first,
            uri.hasPrefix("spiffe://"), HostName(String(uri.dropFirst(9))) != nil
        else { throw .unreadable(what: "authority", detail: "it names no fleet") }
        fleet = String(uri.dropFirst(9))
    }

    /// The authority's private key as PEM: whoever reads it can speak as any host of the fleet.
    package var keyPEM: String { key.pem }

    /// The identity of `host` in this fleet.
    package func identity(of host: HostName) -> String { agentIdentity(fleet: fleet, host: host) }

    /// Certifies the key of `request` (PKCS#10, DER) as `host` for seven days. Throws `requestRefused`.
    package func issueAgent(
        request: [UInt8], host: HostName, random: any RandomSource, now: TimestampMS,
        lifeMS: Int64 = agentLifeMS
    ) throws(IdentityError) -> FleetCertificate {
        let publicKey = try Self.checkedKey(of: request)
        return try issue(
            publicKey, commonName: host.text, names: [identity(of: host)].map { .uri($0) },
            usage: .clientAuth, random: random, now: now, lifeMS: lifeMS)
    }

    /// Certifies `key` as the collector under `names` (host names or IP addresses). Throws `cryptography`.
    package func issueServer(
        key: SigningKey, names: [String], random: any RandomSource, now: TimestampMS,
        lifeMS: Int64 = serverLifeMS
    ) throws(IdentityError) -> FleetCertificate {
        let all = [ServerName.uri(collectorIdentity(fleet: fleet))] + names.map(ServerName.init)
        return try issue(
            Certificate.PublicKey(key.key.publicKey), commonName: "petrel-collector", names: all,
            usage: .serverAuth, random: random, now: now, lifeMS: lifeMS)
    }

    private func issue(
        _ publicKey: Certificate.PublicKey, commonName: String, names: [ServerName],
        usage: ExtendedKeyUsage.Usage, random: any RandomSource, now: TimestampMS, lifeMS: Int64
    ) throws(IdentityError) -> FleetCertificate {
        let end = min(now.advanced(byMilliseconds: lifeMS), certificate.notAfter)
        do {
            let issuerKey = Certificate.PublicKey(key.key.publicKey)
            let leaf = try Certificate(
                version: .v3, serialNumber: makeSerial(random), publicKey: publicKey,
                notValidBefore: min(
                    now.advanced(byMilliseconds: -Self.backdatedMS).date, end.date),
                notValidAfter: end.date, issuer: certificate.x509.subject,
                subject: DistinguishedName { CommonName(commonName) },
                extensions: Certificate.Extensions {
                    Critical(BasicConstraints.notCertificateAuthority)
                    Critical(KeyUsage(digitalSignature: true))
                    try ExtendedKeyUsage([usage])
                    SubjectKeyIdentifier(hash: publicKey)
                    AuthorityKeyIdentifier(
                        keyIdentifier: SubjectKeyIdentifier(hash: issuerKey).keyIdentifier)
                    SubjectAlternativeNames(names.map(\.generalName))
                },
                issuerPrivateKey: Certificate.PrivateKey(key.key))
            return try FleetCertificate(issued: leaf)
        } catch {
            throw .cryptography("\(error)")
        }
    }

    /// Throws `requestRefused` where `request` would not be certified.
    package static func check(request: [UInt8]) throws(IdentityError) {
        _ = try checkedKey(of: request)
    }

    private static func checkedKey(
        of request: [UInt8]
    ) throws(IdentityError) -> Certificate.PublicKey {
        guard request.count <= requestBytesMax else {
            throw .requestRefused("it is longer than \(requestBytesMax) bytes")
        }
        guard let parsed = try? CertificateSigningRequest(derEncoded: request) else {
            throw .requestRefused("it is not PKCS#10 in DER")
        }
        guard P256.Signing.PublicKey(parsed.publicKey) != nil else {
            throw .requestRefused("its key is not ECDSA P-256")
        }
        guard parsed.publicKey.isValidSignature(parsed.signature, for: parsed) else {
            throw .requestRefused("its signature is not by its own key")
        }
        return parsed.publicKey
    }
}

/// A name within a certificate.
private enum ServerName {
    case uri(String)
    case dns(String)
    case address([UInt8])

    init(_ text: String) {
        self = addressBytes(text).map(ServerName.address) ?? .dns(text)
    }

    var generalName: GeneralName {
        switch self {
        case .uri(let uri): .uniformResourceIdentifier(uri)
        case .dns(let name): .dnsName(name)
        case .address(let bytes):
            .ipAddress(ASN1OctetString(contentBytes: bytes[...]))
        }
    }
}

/// The SPIFFE id of an agent.
package func agentIdentity(fleet: String, host: HostName) -> String {
    "spiffe://\(fleet)/agent/\(host)"
}

/// The SPIFFE id of a fleet's collector.
package func collectorIdentity(fleet: String) -> String { "spiffe://\(fleet)/collector" }

/// 16 random bytes, positive and without a leading zero (RFC 5280 4.1.2.2).
private func makeSerial(_ random: any RandomSource) -> Certificate.SerialNumber {
    var bytes = random.bytes(count: 16)
    bytes[0] = (bytes[0] & 0x3f) | 0x40
    return Certificate.SerialNumber(bytes: bytes)
}
