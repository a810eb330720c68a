internal import Crypto
internal import SwiftASN1
internal import X509

/// An ECDSA P-256 private key. Its description shows nothing of it.
package struct SigningKey: Sendable, CustomStringConvertible {
    let key: P256.Signing.PrivateKey

    /// A fresh key from the cryptographic library's own random source.
    package init() { key = P256.Signing.PrivateKey() }

    /// Reads PEM (SEC 1 or PKCS#8). Throws `IdentityError.unreadable`.
    package init(pem: String) throws(IdentityError) {
        do {
            key = try P256.Signing.PrivateKey(pemRepresentation: pem)
        } catch {
            throw .unreadable(what: "private key", detail: "no P-256 key in PEM")
        }
    }

    /// PKCS#8 in PEM with a line end.
    package var pem: String { key.pemRepresentation + "\n" }

    /// A PKCS#10 request for this key, DER. Its subject says nothing: the collector names the host.
    package func signingRequest() throws(IdentityError) -> [UInt8] {
        do {
            let request = try CertificateSigningRequest(
                version: .v1, subject: DistinguishedName { CommonName("petrel-agent") },
                privateKey: Certificate.PrivateKey(key),
                attributes: CertificateSigningRequest.Attributes())
            var serializer = DER.Serializer()
            try serializer.serialize(request)
            return serializer.serializedBytes
        } catch {
            throw .cryptography("\(error)")
        }
    }

    /// Whether `certificate` is for this key.
    package func matches(_ certificate: FleetCertificate) -> Bool {
        P256.Signing.PublicKey(certificate.x509.publicKey)?.x963Representation
            == key.publicKey.x963Representation
    }

    package var description: String { "SigningKey(P-256)" }
}
