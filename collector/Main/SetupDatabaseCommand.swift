import ArgumentParser
import CollectorStore
import Glibc
import Postgres
import Startup
import Storage
import World
import WorldLive

/// `petrel-collector setup-database`: roles, database and access beside a PostgreSQL of this machine.
struct SetupDatabaseCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "setup-database",
        abstract:
            "Makes roles and database in a PostgreSQL of this machine, for peer authentication.",
        discussion: """
            Run as root, or as the system user that PostgreSQL runs as. Everything that is there already is left as it \
            is; a second run changes nothing. The collector's role owns nothing and is no superuser.
            """)
    @Option(
        help:
            "Which cluster, as pg_lsclusters names it: VERSION/NAME (default: the one on port 5432)."
    )
    var cluster: String?
    @Option(help: "Folder of the server's socket, for one outside of /etc/postgresql.")
    var socketDir: String?
    @Option(help: "Port of the server in --socket-dir.")
    var port = 5432
    @Option(help: "Name of the database.")
    var database = "petrel"
    @Option(help: "System user of the collector, which becomes its role's name.")
    var user = CollectorConfiguration.packagedUser
    @Flag(help: "Prints what would be done and changes nothing.")
    var dryRun = false
    @Flag(name: [.short, .long], help: "Does it without asking.")
    var yes = false
    @Flag(help: "Leaves pg_hba.conf alone and prints the line that it needs.")
    var keepPgHba = false

    func run() async throws {
        for (name, flag) in [(database, "--database"), (user, "--user")] {
            let isSane =
                (1...63).contains(name.utf8.count)
                && name.utf8.allSatisfy {
                    (97...122).contains($0) || (48...57).contains($0) || $0 == 45 || $0 == 95
                }
            guard isSane else {
                throw ValidationError("\(flag) '\(name)': use a-z, 0-9, '-' and '_', at most 63")
            }
        }
        let place = try chooseCluster()
        let superuser = try becomeSuperuser(of: place)
        let names = DatabaseSetupNames(database: database, login: user)
        let setup = DatabaseSetup(
            socketDirectory: place.socketDirectory, port: place.port, superuser: superuser,
            names: names,
            logger: CollectorConfiguration().logger(LiveSurroundings(), level: "error"))
        do {
            let survey = try await setup.survey()
            let steps = try DatabaseSetupPlan.steps(survey, names)
            let access = PeerAccess(database: database, user: user)
            let needsAccess = !access.isGranted(by: survey.rules)
            try await perform(
                steps, needsAccess ? access : nil, in: survey.accessFile, setup, place)
        } catch let error as PostgresError {
            throw StartError("PostgreSQL at \(place.socket): \(error)")
        }
    }

    private func perform(
        _ steps: [DatabaseSetupStep], _ access: PeerAccess?, in file: String,
        _ setup: DatabaseSetup, _ place: SystemCluster
    ) async throws {
        guard !steps.isEmpty || access != nil else {
            // A run before may have ended between its line and the reload.
            if !dryRun { try await setup.reloadAccess() }
            print("nothing to do: roles, database and access are there")
            printNextStep(place)
            return
        }
        for step in steps {
            print("SQL  \(step.sql)\(step.isInDatabase ? "  -- in \(database)" : "")")
        }
        if let access { print("HBA  \(file): \(access.line)") }
        if dryRun {
            print("dry run: nothing was changed")
            return
        }
        fflush(nil)
        guard yes || confirmed() else {
            throw StartError("nothing was changed: say y, or run it with --yes")
        }
        try await setup.apply(steps)
        if let access {
            if keepPgHba {
                print(
                    "to be done by you: put this line before the first one of \(file), then "
                        + "SELECT pg_reload_conf():\n\(access.line)")
                return
            }
            try insert(access, into: file)
            try await setup.reloadAccess()
        }
        print("done")
        printNextStep(place)
    }

    /// Where nobody can be asked the answer is no.
    private func confirmed() -> Bool {
        guard isatty(STDIN_FILENO) == 1 else { return false }
        print("do it? [y/N] ", terminator: "")
        fflush(nil)
        return ["y", "yes"].contains(readLine()?.lowercased() ?? "")
    }

    private func insert(_ access: PeerAccess, into file: String) throws {
        let files = LiveFileTree()
        let remedy =
            "; put this line before its first one by hand, then SELECT pg_reload_conf():\n"
            + access.line
        do throws(FileError) {
            guard let resolved = realpath(file, nil) else {
                throw FileError(operation: "find", path: file, errno: errno)
            }
            defer { free(resolved) }
            let path = String(cString: resolved)
            let found = try files.contentsAndOwnership(path)
            let text = String(decoding: found.bytes, as: UTF8.self)
            guard let changed = access.inserted(into: text) else { return }
            try files.replace(path, with: Array(changed.utf8), found.ownership)
        } catch {
            throw StartError(
                "\(error.operation) \(error.path): \(String(cString: strerror(error.errno)))\(remedy)"
            )
        }
    }

    private func printNextStep(_ place: SystemCluster) {
        let isStandard =
            place.port == 5432 && database == "petrel"
            && place.socketDirectory == "/var/run/postgresql"
        if !isStandard {
            let port = place.port == 5432 ? "" : "&port=\(place.port)"
            print(
                "in collector.yaml: database: {url: \"postgresql:///\(database)?host="
                    + "\(place.socketDirectory)\(port)\"}")
        }
        if LiveFileTree().account(named: user) == nil {
            print("the system user \(user) does not exist yet: the package makes it")
        }
        print("next: sudo systemctl enable --now petrel-collector")
    }
}

extension SetupDatabaseCommand {
    /// The cluster to set up; says what there is where none fits.
    private func chooseCluster() throws -> SystemCluster {
        if let socketDir {
            guard cluster == nil else {
                throw ValidationError("--cluster and --socket-dir name two servers; give one")
            }
            let place = SystemCluster(
                version: "", name: "", socketDirectory: socketDir, port: port)
            guard place.hasSocket else {
                throw StartError("no server listens on \(place.socket): start it first")
            }
            return place
        }
        let all = SystemCluster.all()
        guard !all.isEmpty else {
            throw StartError(
                "no PostgreSQL cluster is installed: apt install postgresql; or leave database.url "
                    + "out of collector.yaml for a private one, or set it to a server elsewhere")
        }
        let list = all.map { "\($0.title) (port \($0.port), \($0.hasSocket ? "up" : "down"))" }
            .joined(separator: ", ")
        let chosen = all.first { candidate in
            cluster.map { candidate.title == $0 } ?? (candidate.port == 5432)
        }
        guard let chosen else {
            throw StartError(
                cluster.map { "there is no cluster \($0); there are \(list)" }
                    ?? "no cluster has port 5432: choose one with --cluster VERSION/NAME of \(list)"
            )
        }
        guard chosen.hasSocket else {
            throw StartError(
                "the cluster \(chosen.title) is not running: pg_ctlcluster \(chosen.version) "
                    + "\(chosen.name) start, or choose another with --cluster; there are \(list)")
        }
        return chosen
    }

    /// Becomes the system user that the server runs as, whose name is its superuser's.
    private func becomeSuperuser(of place: SystemCluster) throws -> String {
        let files = LiveFileTree()
        do throws(FileError) {
            let owner = try files.ownership(place.socket)
            guard let account = files.account(number: owner.user) else {
                throw FileError(operation: "find owner", path: place.socket, errno: ENOENT)
            }
            guard ProcessOwner.isRoot || geteuid() == account.user else {
                throw FileError(
                    operation: "become \(account.name)", path: place.socket, errno: EPERM)
            }
            try ProcessOwner.become(account)
            return account.name
        } catch {
            throw StartError(
                "\(error.operation) \(error.path): \(String(cString: strerror(error.errno))); run it "
                    + "as root: sudo petrel-collector setup-database")
        }
    }
}
