package import World

/// Why an identity operation failed.
package enum IdentityError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The bytes are no certificate, key or request of the kind named.
    case unreadable(what: String, detail: String)
    /// A signing request is not acceptable.
    case requestRefused(String)
    /// A peer's certificate is not acceptable.
    case peerRefused(PeerRefusal)
    /// The text is not a whole enrolment token.
    case badToken(TokenFault)
    /// A name that goes into a certificate or token breaks its rule.
    case badName(String)
    /// The state folder holds no identity: the host has not joined a fleet.
    case notJoined(path: String)
    /// The key of the state folder belongs to another certificate.
    case keyMismatch(path: String)
    case file(FileError)
    /// The cryptographic library failed where it should not.
    case cryptography(String)

    /// What is wrong and what to do.
    package var description: String {
        switch self {
        case .unreadable(let what, let detail): "\(what) can't be read: \(detail)"
        case .requestRefused(let why): "certificate signing request refused: \(why)"
        case .peerRefused(let refusal): "peer refused: \(refusal.explanation)"
        case .badToken(let fault): "enrolment token: \(fault.explanation)"
        case .badName(let name):
            "\"\(name)\" is not a usable name: 1-63 characters of a-z 0-9 - . are allowed"
        case .notJoined(let path):
            "\(path) does not exist: this host has not joined a fleet; run `petrel-agent join`"
        case .keyMismatch(let path):
            "\(path) does not belong to the certificate beside it; join the fleet again"
        case .file(let error): "\(error)"
        case .cryptography(let detail): "cryptography failed: \(detail)"
        }
    }
}

/// Why a peer's certificate was not accepted. The raw value is the `reason` label of metrics and audit entries.
package enum PeerRefusal: String, Error, Hashable, Sendable, CaseIterable {
    /// The peer showed no certificate.
    case noCertificate = "no_certificate"
    /// What it showed is no certificate.
    case unreadable
    /// No trusted authority signed it.
    case wrongAuthority = "wrong_authority"
    case notYetValid = "not_yet_valid"
    case expired
    /// Its extended key usage is there, but is not the one needed (a server's certificate used as a client, or the reverse).
    case wrongUsage = "wrong_usage"
    /// It has no extended key usage at all.
    case missingUsage = "missing_usage"
    /// It carries no SPIFFE id of this fleet of the kind needed.
    case noIdentity = "no_identity"
    case revoked

    /// What is wrong, for a person.
    package var explanation: String {
        switch self {
        case .noCertificate: "no certificate was shown; the host must join the fleet first"
        case .unreadable: "what was shown is not a certificate"
        case .wrongAuthority: "the certificate was not signed by this fleet's authority"
        case .notYetValid: "the certificate is not valid yet; compare the clocks of both hosts"
        case .expired: "the certificate has expired; the host must join the fleet again"
        case .wrongUsage: "the certificate is for the other side of a connection"
        case .missingUsage: "the certificate has no extended key usage"
        case .noIdentity: "the certificate carries no identity of this fleet"
        case .revoked: "the certificate was revoked; the host must join the fleet again"
        }
    }
}

/// What is wrong with the text of an enrolment token.
package enum TokenFault: Error, Hashable, Sendable {
    /// It does not begin with `ptl_`.
    case noPrefix
    /// A character that no token has; the position counts from 1 over the trimmed text.
    case badCharacter(position: Int)
    /// Longer than any token.
    case tooLong
    /// The checksum does not fit: characters are missing, added, swapped or mistyped.
    case damaged
    /// Made by a newer collector.
    case unsupportedVersion(UInt8)

    package var explanation: String {
        switch self {
        case .noPrefix: "a token begins with \"ptl_\"; copy the whole last line of `enroll create`"
        case .badCharacter(let position): "character \(position) can't be part of a token"
        case .tooLong: "too long for a token"
        case .damaged: "characters are missing or mistyped; copy the whole line again"
        case .unsupportedVersion(let version):
            "version \(version) is unknown to this agent; upgrade petrel-agent"
        }
    }
}
