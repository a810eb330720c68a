internal import Crypto
internal import FoundationEssentials
package import Model
internal import SwiftASN1
internal import X509

/// A certificate with the facts that Petrel uses.
package struct FleetCertificate: Hashable, Sendable {
    /// The certificate's exact bytes.
    package let der: [UInt8]
    /// Serial number, lower-case hexadecimal.
    package let serial: String
    package let notBefore: TimestampMS
    /// Inclusive: the certificate is still good at this instant.
    package let notAfter: TimestampMS
    /// URIs among the subject alternative names.
    package let uris: [String]

    let x509: Certificate

    /// Throws `IdentityError.unreadable`.
    package init(der: [UInt8]) throws(IdentityError) {
        do {
            try self.init(Certificate(derEncoded: der), der: der)
        } catch {
            throw .unreadable(what: "certificate", detail: "\(error)")
        }
    }

    init(_ certificate: Certificate, der: [UInt8]) throws {
        self.der = der
        x509 = certificate
        serial = hexadecimal(certificate.serialNumber.bytes)
        notBefore = TimestampMS(certificate.notValidBefore)
        notAfter = TimestampMS(certificate.notValidAfter)
        let names = try certificate.extensions.subjectAlternativeNames ?? SubjectAlternativeNames()
        uris = names.compactMap { name in
            guard case .uniformResourceIdentifier(let uri) = name else { return nil }
            return uri
        }
    }

    init(issued certificate: Certificate) throws {
        var serializer = DER.Serializer()
        try serializer.serialize(certificate)
        try self.init(certificate, der: serializer.serializedBytes)
    }

    /// Reads every certificate of a PEM text in order. Throws `IdentityError.unreadable`, also where there is none.
    package static func list(pem: String) throws(IdentityError) -> [FleetCertificate] {
        let documents: [PEMDocument]
        do {
            documents = try PEMDocument.parseMultiple(pemString: pem)
        } catch {
            throw .unreadable(what: "certificate file", detail: "\(error)")
        }
        var certificates: [FleetCertificate] = []
        for document in documents where document.discriminator == "CERTIFICATE" {
            certificates.append(try FleetCertificate(der: document.derBytes))
        }
        guard !certificates.isEmpty else {
            throw .unreadable(what: "certificate file", detail: "it holds no certificate")
        }
        return certificates
    }

    /// The certificate as PEM with a line end.
    package var pem: String {
        PEMDocument(type: "CERTIFICATE", derBytes: der).pemString + "\n"
    }

    /// SHA-256 of the SubjectPublicKeyInfo.
    package var keyHash: [UInt8] {
        Array(SHA256.hash(data: keyInfo))
    }

    /// DER of the SubjectPublicKeyInfo.
    var keyInfo: [UInt8] {
        var serializer = DER.Serializer()
        do {
            try serializer.serialize(x509.publicKey)
        } catch {
            preconditionFailure("a parsed public key serialises: \(error)")
        }
        return serializer.serializedBytes
    }

    package static func == (a: Self, b: Self) -> Bool { a.der == b.der }
    package func hash(into hasher: inout Hasher) { hasher.combine(der) }
}

extension TimestampMS {
    init(_ date: Date) {
        self.init(Int64((date.timeIntervalSince1970 * 1000).rounded()))
    }

    /// The same instant with whole seconds, as certificates have them.
    var date: Date { Date(timeIntervalSince1970: (Double(rawValue) / 1000).rounded(.down)) }
}

func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
    let digits = Array("0123456789abcdef".utf8)
    var text: [UInt8] = []
    for byte in bytes {
        text.append(digits[Int(byte >> 4)])
        text.append(digits[Int(byte & 15)])
    }
    return String(decoding: text, as: UTF8.self)
}
