package import Model
internal import X509

/// Who a verified agent is.
package struct AgentIdentity: Hashable, Sendable {
    package let host: HostName
    /// Serial number of the certificate, lower-case hexadecimal.
    package let serial: String
    /// Inclusive end of the certificate's life.
    package let notAfter: TimestampMS
}

/// Decides whether a peer's certificate is acceptable. It replaces the TLS library's chain building, so everything
/// is checked here: signature, validity, extended key usage, identity and revocation.
///
/// A fleet has no intermediates: a leaf must be signed by one of the authorities itself.
package struct PeerVerifier: Sendable {
    private let authorities: [FleetCertificate]
    private let fleet: String

    /// `authorities` must be certificate authorities; others are never used as issuers.
    package init(authorities: [FleetCertificate], fleet: String) {
        self.authorities = authorities.filter(\.isAuthority)
        self.fleet = fleet
    }

    /// A verifier for the fleet that the first of `authorities` names. Throws `unreadable` where it names none.
    package init(authorities: [FleetCertificate]) throws(IdentityError) {
        guard let uri = authorities.first?.uris.first, uri.hasPrefix("spiffe://") else {
            throw .unreadable(what: "authority", detail: "it names no fleet")
        }
        self.init(authorities: authorities, fleet: String(uri.dropFirst(9)))
    }

    /// The identity behind an agent's certificates (leaf first, DER). Throws the first refusal that applies, in the order
    /// of `PeerRefusal`'s cases. `isRevoked` is asked for the leaf's serial number, last.
    package func verifyAgent(
        _ chain: [[UInt8]], now: TimestampMS, isRevoked: (String) -> Bool
    ) throws(PeerRefusal) -> AgentIdentity {
        let leaf = try verifiedLeaf(chain, now: now, usage: .clientAuth, toleranceMS: 0)
        let prefix = "spiffe://\(fleet)/agent/"
        guard leaf.uris.count == 1, leaf.uris[0].hasPrefix(prefix),
            let host = HostName(String(leaf.uris[0].dropFirst(prefix.count)))
        else { throw .noIdentity }
        guard !isRevoked(leaf.serial) else { throw .revoked }
        return AgentIdentity(host: host, serial: leaf.serial, notAfter: leaf.notAfter)
    }

    /// How far an agent's clock may be off before it refuses the collector's certificate, milliseconds: a host with a
    /// wrong clock should still be able to say so. The authority is pinned, so nothing but age is let through.
    package static let clockToleranceMS: Int64 = 24 * 60 * 60 * 1000

    /// Accepts the collector's certificates (leaf first, DER), or throws the first refusal that applies.
    package func verifyCollector(_ chain: [[UInt8]], now: TimestampMS) throws(PeerRefusal) {
        let leaf = try verifiedLeaf(
            chain, now: now, usage: .serverAuth, toleranceMS: Self.clockToleranceMS)
        guard leaf.uris.contains(collectorIdentity(fleet: fleet)) else { throw .noIdentity }
    }

    /// Accepts the collector's certificates (leaf first, DER) when an authority among them has the public key that a
    /// token pins, and returns that authority; the first connection of a host that trusts nobody yet.
    package static func verifyPinned(
        _ chain: [[UInt8]], authorityKeyHash: [UInt8], now: TimestampMS
    ) throws(PeerRefusal) -> FleetCertificate {
        guard !chain.isEmpty else { throw .noCertificate }
        var pinned: FleetCertificate?
        for der in chain.dropFirst() {
            guard let certificate = try? FleetCertificate(der: der) else { throw .unreadable }
            if certificate.keyHash == authorityKeyHash { pinned = certificate }
        }
        guard let pinned, pinned.isAuthority,
            let verifier = try? PeerVerifier(authorities: [pinned])
        else { throw .wrongAuthority }
        try verifier.verifyCollector([chain[0]], now: now)
        return pinned
    }

    private func verifiedLeaf(
        _ chain: [[UInt8]], now: TimestampMS, usage: ExtendedKeyUsage.Usage, toleranceMS: Int64
    ) throws(PeerRefusal) -> FleetCertificate {
        guard let first = chain.first else { throw .noCertificate }
        guard let leaf = try? FleetCertificate(der: first) else { throw .unreadable }
        let isSigned = authorities.contains { authority in
            authority.x509.subject == leaf.x509.issuer
                && authority.x509.publicKey.isValidSignature(leaf.x509.signature, for: leaf.x509)
        }
        guard isSigned, !leaf.isAuthority else { throw .wrongAuthority }
        guard now.advanced(byMilliseconds: toleranceMS) >= leaf.notBefore else {
            throw .notYetValid
        }
        guard now.advanced(byMilliseconds: -toleranceMS) <= leaf.notAfter else { throw .expired }
        guard let usages = try? leaf.x509.extensions.extendedKeyUsage else { throw .missingUsage }
        guard usages.contains(usage) else { throw .wrongUsage }
        return leaf
    }
}

extension FleetCertificate {
    /// Whether basic constraints make it a certificate authority.
    package var isAuthority: Bool {
        guard case .isCertificateAuthority = try? x509.extensions.basicConstraints else {
            return false
        }
        return true
    }
}
