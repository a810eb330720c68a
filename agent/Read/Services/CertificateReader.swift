package import Model
package import World

/// A secret of which somebody has said when it ends.
package struct SecretExpiry: Hashable, Sendable {
    /// The `name` label; never the secret.
    package var name: String
    package var expiresAt: TimestampMS

    package init(name: String, expiresAt: TimestampMS) {
        self.name = name
        self.expiresAt = expiresAt
    }
}

/// From when to when the certificates on this host's disk are good, and when secrets end. Files are read once a minute.
package struct CertificateReader: NodeReader {
    /// Files of all patterns.
    package static let filesMax = 500
    /// Bytes of one file.
    package static let fileBytesMax = 1 << 20

    /// Where certificates are by themselves, beside the agent's own: Certbot's, the package's, Caddy's.
    package static let standardPatterns = [
        "/etc/letsencrypt/live/*/cert.pem", "/etc/ssl/petrel/*.crt", "/etc/ssl/petrel/*cert*.pem",
        "/var/lib/caddy/.local/share/caddy/certificates/*/*/*.crt",
    ]

    package let name = "certificates"
    private let tree: any WorldFileTree
    private let patterns: [String]
    private let secrets: [SecretExpiry]
    private let held = HeldReading()

    /// `patterns` are paths with `*`, `?` and `[…]` in any part; a file that two of them fit is read once. Of secrets
    /// with the same name the one that ends first counts.
    package init(
        tree: any WorldFileTree, patterns: [String] = CertificateReader.standardPatterns,
        secrets: [SecretExpiry] = []
    ) {
        self.tree = tree
        self.patterns = patterns
        self.secrets = secrets
    }

    /// What kept the last reading from being whole, with what to do; a line each.
    package var problems: [String] { held.problems }

    /// Seconds since the epoch. A file with several certificates has each; of two with the same names the one that ends
    /// first counts. Throws nothing: a file that can't be read, or holds no certificate, and a pattern with a folder
    /// that can't be listed are `petrel_certificate_read_success` 0 and a problem.
    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        held.families(now: now, survey) + expiries()
    }

    private func expiries() -> [MetricFamily] {
        guard !secrets.isEmpty else { return [] }
        var ends: [String: TimestampMS] = [:]
        for secret in secrets {
            ends[secret.name] = min(secret.expiresAt, ends[secret.name] ?? secret.expiresAt)
        }
        return [
            MetricFamily(
                "petrel_secret_expiry_timestamp_seconds", .gauge,
                help: "When a secret ends, as the configuration says, in seconds since the epoch.",
                points: ends.sorted { bytesPrecede($0.key, $1.key) }.map {
                    .init(.one("name", $0.key), $0.value.seconds)
                })
        ]
    }

    private func survey() -> (families: [MetricFamily], problems: [String]) {
        var starts = MetricFamily(
            "petrel_certificate_not_before_timestamp_seconds", .gauge,
            help: "When a certificate begins to be good, in seconds since the epoch.")
        var ends = MetricFamily(
            "petrel_certificate_not_after_timestamp_seconds", .gauge,
            help: "Until when a certificate is good, in seconds since the epoch.")
        var successes = MetricFamily(
            "petrel_certificate_read_success", .gauge,
            help:
                "Whether a file that may hold certificates could be read and understood, and 0 for "
                + "a pattern with a folder that could not be listed.")
        var (paths, closed, problems) = files()
        if paths.count > Self.filesMax {
            problems.append(
                "certificates: \(paths.count) files fit; the first \(Self.filesMax) are read")
            paths = Array(paths.prefix(Self.filesMax))
        }
        for path in paths {
            guard let (certificates, problem) = certificates(path) else { continue }
            for (labels, facts) in Self.labelled(certificates, path) {
                starts.points.append(.init(labels, facts.notBefore.seconds))
                ends.points.append(.init(labels, facts.notAfter.seconds))
            }
            successes.points.append(.init(.one("path", path), problem == nil ? 1 : 0))
            if let problem { problems.append("certificates: " + problem) }
        }
        successes.points += closed.map { .init(.one("path", $0), 0) }
        return ([starts, ends, successes].filter { !$0.points.isEmpty }, problems)
    }

    /// The paths of all patterns, each once, and the patterns with a folder that can't be listed.
    private func files() -> (paths: [String], closed: [String], problems: [String]) {
        let glob = FileGlob(tree: tree, countMax: Self.filesMax)
        var (paths, closed, problems): ([String], [String], [String]) = ([], [], [])
        var seen: Set<String> = []
        for pattern in patterns {
            let match = glob.matches(pattern)
            paths += match.paths.filter { seen.insert($0).inserted }
            if match.hasClosed, seen.insert(pattern).inserted { closed.append(pattern) }
            problems += match.problems.map { "certificates: " + $0 }
        }
        return (paths, closed, problems)
    }

    /// The certificates of a file, and what is wrong with it; nil where it is not there.
    private func certificates(
        _ path: String
    ) -> (certificates: [CertificateFacts], problem: String?)? {
        let bytes: [UInt8]
        do throws(FileError) {
            bytes = try tree.contents(path, bytesMax: Self.fileBytesMax)
        } catch {
            return error.isAbsence ? nil : ([], error.textWithRemedy)
        }
        let (certificates, hasBroken) = CertificateFacts.list(bytes)
        guard !hasBroken else { return (certificates, "\(path): a certificate in it is broken") }
        return (certificates, certificates.isEmpty ? "\(path): no certificate in it" : nil)
    }

    /// Labels and facts in the file's order, each set of labels once.
    private static func labelled(
        _ certificates: [CertificateFacts], _ path: String
    ) -> [(Labels, CertificateFacts)] {
        var found: [(Labels, CertificateFacts)] = []
        for facts in certificates {
            let labels = Labels([
                Label("issuer", facts.issuer), Label("path", path), Label("subject", facts.subject),
            ])
            guard let index = found.firstIndex(where: { $0.0 == labels }) else {
                found.append((labels, facts))
                continue
            }
            if facts.notAfter < found[index].1.notAfter { found[index].1 = facts }
        }
        return found
    }
}
