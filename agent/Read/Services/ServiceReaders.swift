package import World

/// The readers of services that run beside the agent. Each finds its own, or reads what the options name.
package enum ServiceReaders {
    /// `identityFolder` is where the agent's certificate is. Docker's names are `DockerNames`, given to the reader of
    /// containers.
    package static func make(
        tree: any WorldFileTree, paths: NodePaths, options: ServiceOptions,
        identityFolder: String, clock: any WorldClock, random: any RandomSource
    ) -> [any NodeReader] {
        let all: [any NodeReader] = [
            ValkeyReader(
                tree: tree, clock: clock,
                targets: {
                    options.valkey.isEmpty
                        ? ValkeyReader.discover(
                            tree: tree, paths: paths, keys: options.valkeyKeys)
                        : options.valkey
                }),
            PostgresReader(
                tree: tree, clock: clock, random: random,
                targets: {
                    options.postgres.isEmpty
                        ? PostgresReader.discover(tree: tree, paths: paths) : options.postgres
                }),
            PgBouncerReader(
                tree: tree, clock: clock, random: random,
                targets: {
                    options.pgbouncer.isEmpty
                        ? PgBouncerReader.discover(tree: tree, paths: paths) : options.pgbouncer
                }),
            CertificateReader(
                tree: tree,
                patterns: CertificateReader.standardPatterns + [identityFolder + "/certificate.pem"]
                    + options.certificatePatterns, secrets: options.secrets),
            BackupReader(tree: tree, sets: options.backups),
            PgBackRestReader(tree: tree),
            ChronyReader(),
            Fail2banReader(tree: tree, paths: paths),
        ]
        return all.filter { options.isOn($0.name) }
    }
}
