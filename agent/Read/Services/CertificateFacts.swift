package import Model
import SwiftASN1

/// Who a certificate is for, and from when to when it is good.
///
/// Only what is needed is read: a key or a signature of a kind that no library knows is no reason not to tell when the
/// certificate ends. Nothing is verified. Source: RFC 5280 section 4.1, X.690, RFC 7468 section 5.
package struct CertificateFacts: Hashable, Sendable {
    /// Certificates of one file that are read.
    package static let countMax = 16

    /// The common name; without one the first DNS name that it is for, else the organisation, else empty.
    package var subject: String
    /// The issuer's common name, else its organisation, else empty.
    package var issuer: String
    package var notBefore: TimestampMS
    /// Inclusive: the certificate is still good at this instant.
    package var notAfter: TimestampMS

    /// Nil where the bytes are no certificate in DER.
    package init?(der: [UInt8]) {
        guard let root = try? DER.parse(der),
            let signed = root.children?.first(where: { _ in true }),
            var parts = signed.children?.makeIterator(), var part = parts.next()
        else { return nil }
        // version, explicitly tagged, where it isn't 1
        if part.identifier == ASN1Identifier(tagWithNumber: 0, tagClass: .contextSpecific) {
            guard let serial = parts.next() else { return nil }
            part = serial
        }
        guard part.identifier == .integer, parts.next() != nil, let issuer = parts.next(),
            let validity = parts.next()?.children?.map({ $0 }), validity.count == 2,
            let notBefore = Self.time(validity[0]), let notAfter = Self.time(validity[1]),
            let subject = parts.next(), issuer.children != nil, subject.children != nil
        else { return nil }
        let names = Self.names(of: subject)
        let issuerNames = Self.names(of: issuer)
        self.issuer = issuerNames.common ?? issuerNames.organisation ?? ""
        self.notBefore = notBefore
        self.notAfter = notAfter
        self.subject =
            names.common ?? Self.firstDNSName(among: parts) ?? names.organisation ?? ""
    }

    /// The certificates of a file, PEM or DER, at most `countMax`, and whether one is broken. Other PEM blocks, such as
    /// keys, are not even decoded.
    package static func list(
        _ file: [UInt8]
    ) -> (certificates: [CertificateFacts], hasBroken: Bool) {
        if file.first == 0x30 {
            let facts = CertificateFacts(der: file)
            return (facts.map { [$0] } ?? [], facts == nil)
        }
        var found: [CertificateFacts] = []
        var block: [UInt8]?
        var hasBroken = false
        ProcText.forEachLine(file) { line in
            let line = ProcText.trimmed(line.last == 13 ? line.dropLast() : line)
            if ProcText.equals(line, "-----BEGIN CERTIFICATE-----")
                || ProcText.equals(line, "-----BEGIN X509 CERTIFICATE-----")
            {
                hasBroken = hasBroken || block != nil
                block = []
            } else if ProcText.hasPrefix(line, "-----END "), let text = block {
                block = nil
                guard found.count < countMax else { return }
                if let der = Base64Text.decoded(text[...]),
                    let facts = CertificateFacts(der: Array(der))
                {
                    found.append(facts)
                } else {
                    hasBroken = true
                }
            } else {
                block? += line
            }
        }
        return (found, hasBroken || block != nil)
    }

    // MARK: - Parts

    /// UTCTime with its two digits of a year, 1950 to 2049, or GeneralizedTime.
    private static func time(_ node: ASN1Node) -> TimestampMS? {
        if node.identifier == .utcTime {
            guard let time = try? UTCTime(derEncoded: node) else { return nil }
            return timestamp(
                time.year, time.month, time.day, time.hours, time.minutes, time.seconds)
        }
        guard let time = try? GeneralizedTime(derEncoded: node) else { return nil }
        return timestamp(time.year, time.month, time.day, time.hours, time.minutes, time.seconds)
    }

    /// Of a date that is known to be one.
    private static func timestamp(
        _ year: Int, _ month: Int, _ day: Int, _ hours: Int, _ minutes: Int, _ seconds: Int
    ) -> TimestampMS {
        let days = RFC3339.days(fromCivil: Int64(year), Int64(month), Int64(day))
        let seconds = Int64(hours * 3_600 + minutes * 60 + seconds)
        return TimestampMS((days * 86_400 + seconds) * 1_000)
    }

    /// The last common name, which is the most particular, and the last organisation.
    private static func names(of node: ASN1Node) -> (common: String?, organisation: String?) {
        var names: (common: String?, organisation: String?)
        for part in node.children.map({ Array($0) }) ?? [] {
            for attribute in part.children.map({ Array($0) }) ?? [] {
                guard let pair = attribute.children.map({ Array($0) }), pair.count == 2,
                    let type = pair[0].bytes, let text = text(pair[1]), !text.isEmpty
                else { continue }
                switch Array(type) {
                // 2.5.4.3 and 2.5.4.10
                case [0x55, 0x04, 0x03]: names.common = text
                case [0x55, 0x04, 0x0A]: names.organisation = text
                default: continue
                }
            }
        }
        return names
    }

    private static func text(_ node: ASN1Node) -> String? {
        guard let bytes = node.bytes else { return nil }
        guard node.identifier == .bmpString else { return String(decoding: bytes, as: UTF8.self) }
        let units = Array(bytes)
        return String(
            decoding: stride(from: 0, to: units.count - 1, by: 2).map {
                UInt16(units[$0]) << 8 | UInt16(units[$0 + 1])
            }, as: UTF16.self)
    }

    /// The first DNS name of the subject's alternative names, in what follows the subject.
    private static func firstDNSName(among rest: ASN1NodeCollection.Iterator) -> String? {
        let tag = ASN1Identifier(tagWithNumber: 3, tagClass: .contextSpecific)
        guard
            let list = IteratorSequence(rest).first(where: { $0.identifier == tag })?.children?
                .first(where: { _ in true })?.children
        else { return nil }
        for entry in list {
            // 2.5.29.17, whether critical or not, and its value last
            guard let parts = entry.children.map({ Array($0) }), let type = parts.first?.bytes,
                Array(type) == [0x55, 0x1D, 0x11], let value = parts.last?.bytes,
                let names = (try? DER.parse(value))?.children
            else { continue }
            let dns = ASN1Identifier(tagWithNumber: 2, tagClass: .contextSpecific)
            return names.first { $0.identifier == dns }?.bytes.map {
                String(decoding: $0, as: UTF8.self)
            }
        }
        return nil
    }
}

extension ASN1Node {
    /// What a constructed node holds; nil for a primitive one.
    fileprivate var children: ASN1NodeCollection? {
        guard case .constructed(let children) = content else { return nil }
        return children
    }

    /// The content of a primitive node; nil for a constructed one.
    fileprivate var bytes: ArraySlice<UInt8>? {
        guard case .primitive(let bytes) = content else { return nil }
        return bytes
    }
}
