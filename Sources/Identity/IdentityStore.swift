package import Model
package import World

/// What a host is within its fleet: its key, its certificate and whom it trusts.
package struct HostIdentity: Sendable {
    package var key: SigningKey
    /// Leaf first.
    package var certificates: [FleetCertificate]
    package var authorities: [FleetCertificate]

    package init(
        key: SigningKey, certificates: [FleetCertificate], authorities: [FleetCertificate]
    ) {
        precondition(!certificates.isEmpty, "an identity has a certificate")
        self.key = key
        self.certificates = certificates
        self.authorities = authorities
    }

    /// The host's own certificate.
    package var leaf: FleetCertificate { certificates[0] }

    /// The host that the certificate names; nil where it names none.
    package var host: HostName? {
        // spiffe: / / fleet / agent / host
        let parts = (leaf.uris.first ?? "").split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 5, parts[3] == "agent" else { return nil }
        return HostName(String(parts[4]))
    }
}

/// Where the collector is, as a host learned it when it joined.
package struct CollectorAddress: Hashable, Sendable {
    package var name: String
    package var fleetPort: UInt16

    package init(name: String, fleetPort: UInt16) {
        self.name = name
        self.fleetPort = fleetPort
    }
}

/// A host's identity in its state folder: `key.pem`, `certificate.pem`, `authorities.pem` and `collector`, all 0600.
///
/// A replacement survives a crash at any point: new files are written whole and synchronised beside the old ones; the
/// certificate takes its place first and the key last, and reading finishes a replacement of the key that a crash cut off.
package struct IdentityStore: Sendable {
    private let files: any WorldFileTree
    private let folder: String
    private static let fileBytesMax = 256 * 1024

    /// The state folder is made at the first `save`.
    package init(files: any WorldFileTree, folder: String) {
        self.files = files
        self.folder = folder
    }

    /// The identity. Throws `notJoined`, `unreadable`, `keyMismatch` and `file`.
    package func load() throws(IdentityError) -> HostIdentity {
        guard (try? files.status(path("certificate.pem"))) != nil else {
            throw .notJoined(path: path("certificate.pem"))
        }
        let certificates = try FleetCertificate.list(pem: read("certificate.pem"))
        let authorities = try FleetCertificate.list(pem: read("authorities.pem"))
        if let text = try? read("key.pem"), let key = try? SigningKey(pem: text),
            key.matches(certificates[0])
        {
            return HostIdentity(key: key, certificates: certificates, authorities: authorities)
        }
        guard let text = try? read("key.pem.new"), let key = try? SigningKey(pem: text),
            key.matches(certificates[0])
        else { throw .keyMismatch(path: path("key.pem")) }
        do {
            try settle(key)
        } catch {
            throw .file(error)
        }
        return HostIdentity(key: key, certificates: certificates, authorities: authorities)
    }

    /// Replaces the identity. Throws `file`; the identity before stays valid then.
    package func save(_ identity: HostIdentity) throws(IdentityError) {
        do {
            try files.makeDirectory(folder)
            try write(identity.key.pem, to: "key.pem.new")
            try write(identity.certificates.map(\.pem).joined(), to: "certificate.pem.new")
            try write(identity.authorities.map(\.pem).joined(), to: "authorities.pem.new")
            try files.synchronizeDirectory(folder)
            // Each step is durable before the next: until `key.pem` is, the new key stays under its other name.
            for name in ["authorities.pem", "certificate.pem"] {
                try files.rename(path(name + ".new"), to: path(name))
                try files.synchronizeDirectory(folder)
            }
            try settle(identity.key)
        } catch {
            throw .file(error)
        }
    }

    /// Where the collector is; nil where the host has not joined.
    package func collector() -> CollectorAddress? {
        guard let text = try? read("collector") else { return nil }
        let words = text.split(whereSeparator: { $0 == " " || $0 == "\n" })
        guard words.count == 2, let port = UInt16(words[1]) else { return nil }
        return CollectorAddress(name: String(words[0]), fleetPort: port)
    }

    /// Replaces the collector's address. Throws `file`.
    package func save(_ collector: CollectorAddress) throws(IdentityError) {
        do {
            try files.makeDirectory(folder)
            try write("\(collector.name) \(collector.fleetPort)\n", to: "collector.new")
            try files.rename(path("collector.new"), to: path("collector"))
            try files.synchronizeDirectory(folder)
        } catch {
            throw .file(error)
        }
    }

    /// Makes `key.pem` of the key that `key.pem.new` holds.
    private func settle(_ key: SigningKey) throws(FileError) {
        try write(key.pem, to: "key.pem")
        try files.synchronizeDirectory(folder)
        try files.remove(path("key.pem.new"))
    }

    private func path(_ name: String) -> String { "\(folder)/\(name)" }

    private func read(_ name: String) throws(IdentityError) -> String {
        do {
            let bytes = try files.contents(path(name), bytesMax: Self.fileBytesMax)
            return String(decoding: bytes, as: UTF8.self)
        } catch {
            throw .file(error)
        }
    }

    private func write(_ text: String, to name: String) throws(FileError) {
        try writeWhole(Array(text.utf8), to: path(name), files: files)
    }
}

/// The authority's files in the collector's state folder: `ca-key.pem` and `ca.pem`, both 0600.
package struct AuthorityStore: Sendable {
    private let files: any WorldFileTree
    private let folder: String

    package init(files: any WorldFileTree, folder: String) {
        self.files = files
        self.folder = folder
    }

    /// The authority of the state folder, made at the first call for `fleet`. The key is written before the
    /// certificate; a key without a certificate is a creation that a crash cut off, and is replaced.
    package func loadOrCreate(
        fleet: String, random: any RandomSource, now: TimestampMS
    ) throws(IdentityError) -> CertificateAuthority {
        do {
            if (try? files.status("\(folder)/ca.pem")) != nil {
                let key = try files.contents("\(folder)/ca-key.pem")
                let certificate = try files.contents("\(folder)/ca.pem")
                return try CertificateAuthority(
                    keyPEM: String(decoding: key, as: UTF8.self),
                    certificatePEM: String(decoding: certificate, as: UTF8.self))
            }
            let authority = try CertificateAuthority(creating: fleet, random: random, now: now)
            try files.makeDirectory(folder)
            for (name, text) in [
                ("ca-key.pem", authority.keyPEM), ("ca.pem", authority.certificate.pem),
            ] {
                try writeWhole(Array(text.utf8), to: "\(folder)/\(name).new", files: files)
                try files.rename("\(folder)/\(name).new", to: "\(folder)/\(name)")
                try files.synchronizeDirectory(folder)
            }
            return authority
        } catch let error as FileError {
            throw .file(error)
        } catch let error as IdentityError {
            throw error
        } catch {
            throw .cryptography("\(error)")
        }
    }
}

/// Writes a new file of mode 0600 and synchronises it; a file of that name is replaced.
private func writeWhole(
    _ bytes: [UInt8], to path: String, files: any WorldFileTree
) throws(FileError) {
    if (try? files.status(path)) != nil { try files.remove(path) }
    let file = try files.open(path, .createNew)
    defer { file.close() }
    try file.write(bytes, at: 0)
    try file.synchronize()
}
