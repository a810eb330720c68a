import World

/// All that is looked at before Caddy is set up.
struct CaddyFacts: Hashable, Sendable {
    var file: ConfigurationFile
    var caddyfile: Caddyfile
    /// Major, minor; nil: the program is not installed or does not say.
    var version: [Int]?
    var program: String?
    /// The user that the service runs as: `caddy`, where there is one.
    var user: String?
    /// The arguments that run a program as that user.
    var prefix: [String]
    var unit: String?
    var systemctl: String?
    /// The admin endpoint answers with metrics.
    var metricsAnswer: Bool
    /// What runs has metrics of its HTTP servers switched on.
    var isOnLive: Bool
}

/// Where Caddy's admin endpoint listens.
enum CaddyAdmin: Hashable, Sendable {
    case off
    case loopback(address: String, port: Int)
    /// A socket or another machine's address, as it is written.
    case elsewhere(String)

    static let standard = CaddyAdmin.loopback(address: "127.0.0.1", port: 2019)

    init(_ words: [String]?) {
        guard let word = words?.first else {
            self = .standard
            return
        }
        guard word != "off" else {
            self = .off
            return
        }
        let colon = word.lastIndex(of: ":")
        let host = colon.map { String(word[..<$0]) } ?? word
        let port = colon.flatMap { Int(word[word.index(after: $0)...]) } ?? 2019
        switch host {
        case "", "localhost", "127.0.0.1", "0.0.0.0":
            self = .loopback(address: "127.0.0.1", port: port)
        case "[::1]", "[::]": self = .loopback(address: "::1", port: port)
        default: self = .elsewhere(word)
        }
    }
}

extension CaddyFacts {
    static let standardPath = "/etc/caddy/Caddyfile"
    /// What `/config/apps/http` shows where metrics are on.
    static let liveText = "\"metrics\":{"

    static func survey(_ path: String?, _ host: SetupHost) throws(SetupError) -> CaddyFacts {
        let path = path ?? standardPath
        guard host.exists(path) else {
            throw .notFound(
                service: "Caddy", places: [path],
                remedy: "apt install caddy, or name the Caddyfile with --config")
        }
        let file = try host.read(path)
        let caddyfile = Caddyfile(file.lines)
        let program = host.programs.locate("caddy")
        let user = host.files.account(named: "caddy")?.name
        var metricsAnswer = false
        var isOnLive = false
        if case .loopback(let address, let port) = CaddyAdmin(caddyfile.admin) {
            let answer = host.services.get(address: address, port: port, path: "/metrics")
            metricsAnswer = answer?.status == 200
            let live = host.services.get(address: address, port: port, path: "/config/apps/http")
            isOnLive = live?.body.contains(liveText) ?? false
        }
        return CaddyFacts(
            file: file, caddyfile: caddyfile, version: version(program, host), program: program,
            user: user,
            prefix: host.isRoot ? user.flatMap { host.prefix(runningAs: $0) } ?? [] : [],
            unit: path == standardPath ? host.activeUnit(["caddy.service"]) : nil,
            systemctl: host.programs.locate("systemctl"), metricsAnswer: metricsAnswer,
            isOnLive: isOnLive)
    }

    /// `v2.8.4 h1:…`, `2.6.2`.
    private static func version(_ program: String?, _ host: SetupHost) -> [Int]? {
        guard let program,
            let outcome = try? host.programs.run(
                ProgramRun([program, "version"], deadlineSeconds: 10)),
            let word = outcome.output.split(whereSeparator: \.isWhitespace).first
        else { return nil }
        let numbers = word.drop { $0 == "v" }.split(separator: ".").prefix(2).compactMap { Int($0) }
        return numbers.count == 2 ? numbers : nil
    }
}

/// Plans how Caddy shows its metrics on the admin endpoint.
/// Source: Caddy "Monitoring Caddy with Prometheus metrics": the global option `metrics` from 2.9 on, `metrics` inside
/// `servers` from 2.6 on, always on before that.
enum CaddyPlanner {
    private static let homeFolder = "/var/lib/caddy"

    static func plan(_ facts: CaddyFacts) -> SetupPlan {
        var plan = SetupPlan(subject: "caddy")
        guard let version = facts.version else {
            plan.steps.append(
                .cannot(
                    because: "the program caddy is not installed here, or does not say its version",
                    remedy:
                        "where Caddy runs in a container, put `metrics` into the global options "
                        + "of its Caddyfile by hand (before 2.9: `servers { metrics }`)"))
            return plan
        }
        let admin = CaddyAdmin(facts.caddyfile.admin)
        plan.steps += adminSteps(admin)
        let change = metricsStep(facts, version)
        plan.add(change)
        guard !plan.isBlocked, case .loopback(let address, let port) = admin else { return plan }
        guard facts.unit != nil || facts.metricsAnswer else {
            plan.add(
                .note(
                    "Caddy does not run (nobody answers at \(address):\(port)); it takes the "
                        + "settings at its start"))
            return plan
        }
        if change.isChange || !facts.isOnLive { plan.add(reload(facts, address, port)) }
        plan.add(
            .verify(
                CommandStep(
                    "the HTTP servers count",
                    .request(address: address, port: port, path: "/config/apps/http"),
                    expect: version.lexicographicallyPrecedes([2, 6])
                        ? .success : .contains([CaddyFacts.liveText]),
                    remedy: "systemctl status caddy",
                    attempts: CommandStep.attemptsAfterReload)))
        plan.add(
            .verify(
                CommandStep(
                    "the metrics are there to be read",
                    .request(address: address, port: port, path: "/metrics"),
                    expect: .contains(["caddy_"]), remedy: "systemctl status caddy",
                    attempts: CommandStep.attemptsAfterReload)))
        return plan
    }

    private static func adminSteps(_ admin: CaddyAdmin) -> [SetupStep] {
        switch admin {
        case .off:
            [
                .cannot(
                    because: "`admin off` leaves no endpoint to read metrics from",
                    remedy: "write `admin localhost:2019` instead; it is reached from this machine "
                        + "alone, and `systemctl reload caddy` needs it as well")
            ]
        case .elsewhere(let place):
            [
                .note(
                    "the admin endpoint is at \(place): the agent reads http://localhost:2019 "
                        + "unless its configuration says otherwise")
            ]
        case .loopback(_, let port) where port != 2019:
            [
                .note(
                    "the admin endpoint is at port \(port): name it in the agent's configuration")
            ]
        case .loopback: []
        }
    }

    // MARK: The option

    private static func metricsStep(_ facts: CaddyFacts, _ version: [Int]) -> SetupStep {
        let caddyfile = facts.caddyfile
        let path = facts.file.path
        guard !version.lexicographicallyPrecedes([2, 6]) else {
            return .alreadySo("Caddy before 2.6 always counts")
        }
        let isOld = version.lexicographicallyPrecedes([2, 9])
        // An old file goes on working under a new Caddy.
        let counts =
            caddyfile.hasMetrics && !isOld
            || caddyfile.servers.contains { $0.isGeneral || !isOld }
                && caddyfile.servers.allSatisfy(\.hasMetrics)
        if counts { return .alreadySo("\(path) switches metrics on") }
        if caddyfile.hasImport, facts.isOnLive {
            return .alreadySo("a file that \(path) imports switches metrics on")
        }
        return .changeFile(
            FileChange(
                path: path, before: facts.file.bytes,
                edits: isOld ? oldEdits(caddyfile) : newEdits(caddyfile),
                why: "the HTTP servers count requests",
                missing: isOld ? "servers { metrics }" : "metrics",
                check: check(facts)))
    }

    private static let mark = SetupHost.mark + "requests are counted."

    private static func newEdits(_ caddyfile: Caddyfile) -> [LineEdit] {
        if let line = caddyfile.globalLine {
            return [LineEdit(line: line + 1, inserted: ["\t" + mark, "\tmetrics"])]
        }
        return [
            LineEdit(
                line: caddyfile.firstLine, inserted: ["{", "\t" + mark, "\tmetrics", "}", ""])
        ]
    }

    /// Each block of `servers` gets its `metrics`; where none holds for all servers, a new one does.
    private static func oldEdits(_ caddyfile: Caddyfile) -> [LineEdit] {
        let block = ["\t" + mark, "\tservers {", "\t\tmetrics", "\t}"]
        guard let line = caddyfile.globalLine else {
            return [
                LineEdit(line: caddyfile.firstLine, inserted: ["{"] + block + ["}", ""])
            ]
        }
        var edits = caddyfile.servers.filter { !$0.hasMetrics }.map {
            LineEdit(line: $0.openLine + 1, inserted: ["\t\t" + mark, "\t\tmetrics"])
        }
        if !caddyfile.servers.contains(where: \.isGeneral) {
            edits.append(LineEdit(line: line + 1, inserted: block))
        }
        return edits
    }

    // MARK: Check and reload

    /// As Caddy's own user: validating opens the log files, which root would then own.
    private static func check(_ facts: CaddyFacts) -> CommandStep? {
        facts.program.map { program in
            CommandStep(
                "Caddy accepts the new file",
                .program(
                    ProgramRun(
                        facts.prefix + [
                            program, "validate", "--adapter", "caddyfile", "--config",
                            FileChange.candidate,
                        ], environment: ["HOME": homeFolder], deadlineSeconds: 60)),
                remedy: "the Caddyfile is as it was; where it needs variables of the service's "
                    + "environment, put `metrics` into its global options by hand")
        }
    }

    private static func reload(_ facts: CaddyFacts, _ address: String, _ port: Int) -> SetupStep {
        let run: ProgramRun
        if let unit = facts.unit, let systemctl = facts.systemctl {
            run = ProgramRun([systemctl, "reload", unit], deadlineSeconds: 60)
        } else {
            let host = address.contains(":") ? "[\(address)]" : address
            run = ProgramRun(
                facts.prefix + [
                    facts.program ?? "/usr/bin/caddy", "reload", "--adapter", "caddyfile",
                    "--config", facts.file.path, "--address", "\(host):\(port)",
                ], environment: ["HOME": homeFolder], deadlineSeconds: 60)
        }
        return .run(
            CommandStep(
                "Caddy takes the new file; no connection is cut", .program(run),
                remedy: "journalctl -u caddy; Caddy goes on with its old settings",
                restoresFiles: true))
    }
}
