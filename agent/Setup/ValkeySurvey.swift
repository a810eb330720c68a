import World

/// What the caller allows beyond the plan.
package struct ValkeyConsent: Hashable, Sendable {
    /// `requirepass` may be read from the configuration and used to tell the running server of the new user.
    package var usesRequirepass: Bool
    /// The service may be restarted where it takes the user in no other way.
    package var restarts: Bool
    /// The default user's password as the caller gives it (REDISCLI_AUTH).
    package var password: String?

    package init(usesRequirepass: Bool = false, restarts: Bool = false, password: String? = nil) {
        self.usesRequirepass = usesRequirepass
        self.restarts = restarts
        self.password = password
    }
}

/// All that is looked at before Valkey or Redis is set up.
struct ValkeyFacts: Hashable, Sendable {
    /// How the running server answers.
    enum Answer: Hashable, Sendable {
        /// Nobody answers, or there is no client program.
        case none
        /// It takes commands without a password.
        case open
        /// It wants a password first.
        case wantsPassword
        /// It lets the agent in with its stored password, and to nothing more than it needs.
        case agentWorks
    }

    var configuration: ValkeyConfiguration
    /// `aclfile` and its content; nil content: it does not exist.
    var accessFilePath: String?
    var accessFile: ConfigurationFile?
    /// Major, minor.
    var version: [Int]
    /// Where the agent's password is.
    var secretPath: String
    var stored: StoredSecret?
    var newPassword: String
    var answer: Answer
    /// The client program with the server's place; nil where it is not installed or no place is known.
    var client: [String]?
    var unit: String?
    var systemctl: String?
    var agentUser: String
    var agent: UserAccount?
    var consent: ValkeyConsent
}

extension ValkeyFacts {
    static let places = ["/etc/valkey/valkey.conf", "/etc/redis/redis.conf"]
    /// The agent's name in the server.
    static let user = "petrel"

    static func survey(
        _ path: String?, _ consent: ValkeyConsent, _ host: SetupHost
    ) throws(SetupError) -> ValkeyFacts {
        let found = path.map { [$0] } ?? places.filter { host.exists($0) }
        guard let path = found.first, host.exists(path) else {
            throw .notFound(
                service: "Valkey or Redis", places: path.map { [$0] } ?? places,
                remedy: "apt install valkey-server or redis-server, or name the file with --config")
        }
        guard found.count == 1 else {
            throw .unclear(
                what: "Valkey and Redis are both configured here", choices: found,
                remedy: "name one with --config")
        }
        let configuration = try ValkeyConfiguration.read(path, host)
        let accessPath = configuration.value("aclfile").flatMap { $0.isEmpty ? nil : $0 }.map {
            PathText.joined($0, from: configuration.value("dir") ?? PathText.folder(of: path))
        }
        var accessFile: ConfigurationFile?
        if let accessPath, host.exists(accessPath) { accessFile = try host.read(accessPath) }
        let client = client(configuration, host)
        let secretPath = host.secretsFolder + "/valkey"
        let stored = host.secret(secretPath)
        let units = ["valkey-server", "valkey", "redis-server", "redis"].map { $0 + ".service" }
        return ValkeyFacts(
            configuration: configuration, accessFilePath: accessPath, accessFile: accessFile,
            version: version(host), secretPath: secretPath, stored: stored,
            newPassword: host.newPassword(),
            answer: try answer(client, stored?.value, host), client: client,
            unit: places.contains(path) ? host.activeUnit(units) : nil,
            systemctl: host.programs.locate("systemctl"), agentUser: host.agentUser,
            agent: host.files.account(named: host.agentUser), consent: consent)
    }

    private static func client(
        _ configuration: ValkeyConfiguration, _ host: SetupHost
    ) -> [String]? {
        let names = ["valkey-cli", "redis-cli"]
        guard let tool = names.lazy.compactMap({ host.programs.locate($0) }).first else {
            return nil
        }
        if let socket = configuration.value("unixsocket"), host.exists(socket) {
            return [tool, "-s", socket]
        }
        let port = configuration.value("port") ?? "6379"
        guard port != "0" else { return nil }
        let bind = configuration.directives.last { $0.name == "bind" }?.arguments ?? []
        let addresses = bind.map { $0.hasPrefix("-") ? String($0.dropFirst()) : $0 }
        let isAnywhere = addresses.isEmpty || addresses.contains { ["*", "0.0.0.0"].contains($0) }
        let address =
            isAnywhere || addresses.contains("127.0.0.1") ? "127.0.0.1" : addresses[0]
        return [tool, "-h", address, "-p", port]
    }

    private static func version(_ host: SetupHost) -> [Int] {
        for name in ["valkey-server", "redis-server"] {
            guard let program = host.programs.locate(name),
                let outcome = try? host.programs.run(
                    ProgramRun([program, "--version"], deadlineSeconds: 10)),
                let word = outcome.output.split(separator: " ").first(where: {
                    $0.hasPrefix("v=")
                })
            else { continue }
            let numbers = word.dropFirst(2).split(separator: ".").compactMap { Int($0) }
            // Valkey 7.2 went on from Redis 7.2; its numbers grow alike.
            if numbers.count >= 2 { return Array(numbers.prefix(2)) }
        }
        return [7, 0]
    }

    private static func answer(
        _ client: [String]?, _ password: String?, _ host: SetupHost
    ) throws(SetupError) -> Answer {
        guard let client else { return .none }
        if let password {
            let proof = ValkeyPlanner.proof(client, password)
            if case .program(let run) = proof.action, let outcome = try? host.programs.run(run),
                ValkeyPlanner.proofTexts.allSatisfy({ outcome.output.contains($0) })
            {
                return .agentWorks
            }
        }
        let outcome = try host.run(
            ProgramRun(client, input: Array("PING\n".utf8), deadlineSeconds: 5))
        if outcome.output.contains("PONG") { return .open }
        return outcome.output.contains("NOAUTH") ? .wantsPassword : .none
    }
}
