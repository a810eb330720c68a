import CollectorStore
import Identity
import Logging
import Model
import Routing
import Rules
import Startup
import Storage
import World
import WorldLive

/// The collector's check-up: gathers facts and has them judged.
struct CollectorDoctor {
    /// Name of the packaged unit and of its user.
    static let service = "petrel-collector"
    /// Free bytes that the state folder and the database need: less, and PostgreSQL soon stops.
    static let freeBytesMin: Int64 = 1 << 30
    static let answerSeconds = 10

    private let common: CommonOptions
    private let files = LiveFileTree()
    private let probe = LiveHostProbe()
    private let surroundings = LiveSurroundings()
    private let program: CheckedProgram<CollectorConfiguration>
    private var configuration: CollectorConfiguration { program.configuration }
    private var service: ServiceUser { program.service }

    init(_ common: CommonOptions) {
        self.common = common
        program = CheckedProgram(
            Self.service, defaults: CollectorConfiguration(), files: files, probe: probe,
            programs: LiveProgramRunner(), services: LiveLocalServices(seconds: Self.answerSeconds),
            surroundings: surroundings, load: common.configuration)
    }

    func results() async -> [CheckResult] {
        let figures = program.figures(on: configuration.http, prefix: "petrel_")
        var results = configurationResults()
        results.append(HostChecks.unit(Self.service, service.unit))
        if figures == nil, let silence = program.silence(on: configuration.http) {
            results.append(silence)
        }
        results += folderResults()
        results += authorityResults()
        results.append(HostChecks.clock(probe.clockSynchronisation()))
        results += portResults(isRunning: figures != nil)
        results.append(
            CollectorChecks.advertised(configuration.reachableNames, fleet: configuration.fleet))
        results += secretResults()
        // From here on as the collector's own user: this can't be undone.
        results += await databaseResults(isRunning: figures != nil)
        if let skews = figures.flatMap(CollectorChecks.skews) { results.append(skews) }
        return results
    }

    private func configurationResults() -> [CheckResult] {
        let named = common.config ?? CommonOptions.standardFile
        var results = [
            program.configuration(
                named,
                summary: configuration.databaseURL.isEmpty
                    ? "a private PostgreSQL" : "a PostgreSQL of its own by database.url")
        ]
        do {
            let groups = try RuleLoading.load(configuration)
            let count = groups.reduce(0) { $0 + $1.rules.count }
            results.append(.ok("rules", "\(groups.count) groups with \(count) rules"))
        } catch {
            results.append(
                .fail(
                    "rules", "\(error)",
                    remedy: "mend the file, then: petrel-collector check-config")
            )
        }
        do {
            let routing = try RuleLoading.routing(configuration)
            _ = try RuleLoading.templates(routing ?? .standard)
            let count = routing?.receivers.reduce(0) { $0 + $1.integrations.count } ?? 0
            results.append(
                count > 0
                    ? .ok(
                        "alerting", "\(configuration.alertingFile): \(count) ways to tell somebody")
                    : .warn(
                        "alerting", "nobody is told of alerts: no receiver is configured",
                        remedy: "write receivers into \(configuration.alertingFile), then: petrel "
                            + "notify test NAME"))
        } catch {
            results.append(
                .fail(
                    "alerting", "\(error)",
                    remedy: "mend the file, then: petrel-collector check-config"))
        }
        return results
    }

    private func folderResults() -> [CheckResult] {
        let folder = configuration.dataDirectory
        return [
            program.folder(folder),
            program.space(
                folder, bytesMin: Self.freeBytesMin,
                consequence: configuration.databaseURL.isEmpty
                    ? "the private PostgreSQL stops soon" : "the collector can't write its state"),
        ]
    }

    private func authorityResults() -> [CheckResult] {
        let folder = configuration.dataDirectory + "/authority"
        let key = folder + "/ca-key.pem"
        var results = [
            CollectorChecks.authorityKey(
                key, program.ownership(key), errorText: surroundings.errorText)
        ]
        guard let bytes = try? files.contents(folder + "/ca.pem") else { return results }
        do {
            let text = String(decoding: bytes, as: UTF8.self)
            let certificate = try FleetCertificate.list(pem: text)[0]
            results.append(
                HostChecks.validity(
                    "authority", of: "certificate of the fleet", notBefore: certificate.notBefore,
                    notAfter: certificate.notAfter, now: LiveClock().now.milliseconds,
                    renewal: 0.95,
                    remedy: "make a new authority and join every host again: stop the collector, "
                        + "move \(folder) away, start it, enroll create for each host"))
        } catch {
            results.append(
                .fail(
                    "authority", "\(folder)/ca.pem: \(error)",
                    remedy: "restore \(folder) from a backup"))
        }
        return results
    }

    private func portResults(isRunning: Bool) -> [CheckResult] {
        let places = [
            ("HTTP port", configuration.http, "http.listen"),
            ("fleet port", configuration.fleet, "fleet.listen"),
            ("enrolment port", configuration.enroll, "fleet.enroll"),
        ]
        return places.map { name, place, key in
            let listeners = probe.listeners(port: place.port)
            // A collector that answers on its HTTP port holds the other two as well, or would have ended.
            let names = listeners.compactMap(\.program)
            return HostChecks.port(
                name, place, listeners: listeners, program: "petrel-collector",
                isOwn: isRunning && names.isEmpty ? true : nil, consequence: .fail,
                key: "\(key) in /etc/petrel/collector.yaml")
        }
    }

    private func secretResults() -> [CheckResult] {
        guard let routing = try? RuleLoading.routing(configuration) else { return [] }
        let access = service.access
        var results: [CheckResult] = []
        for path in routing.secretFiles {
            switch access.verdict(path) {
            case .readable: results.append(.ok("secret", "\(path) is readable"))
            case .absent:
                results.append(
                    .fail(
                        "secret", "\(path) does not exist: its receiver gets nothing",
                        remedy: "sudo install -m 0640 -g petrel-collector /dev/stdin \(path)"))
            case .denied(let place, _):
                results.append(
                    .fail(
                        "secret", "\(path): \(service.reader.name) may not read \(place)",
                        remedy: "sudo chgrp petrel-collector \(place) && sudo chmod g+r \(place)"))
            case .unknown(let error):
                results.append(.warn("secret", "\(error)", remedy: "run this with sudo"))
            }
        }
        return results
    }

    private func databaseResults(isRunning: Bool) async -> [CheckResult] {
        let isPrivate = configuration.databaseURL.isEmpty
        guard isRunning || !isPrivate else {
            return [
                .warn(
                    "database", "the private PostgreSQL is not looked at while no collector runs",
                    remedy:
                        "sudo systemctl start petrel-collector   # then again: petrel-collector doctor"
                )
            ]
        }
        let logger = configuration.logger(surroundings, level: "critical")
        let found: DatabaseFacts?
        do {
            try configuration.becomeDataOwner()
            let store = configuration.storeConfiguration
            found = try await DatabaseInspection.inspect(
                url: try await store.databaseURL(logger: logger), password: store.password,
                logger: logger)
        } catch {
            let text = (error as? StorageError).map(explain) ?? "\(error)"
            return [CollectorChecks.unreachable(text, isPrivate: isPrivate)]
        }
        guard let facts = found else { return [CollectorChecks.pooler(.transaction)] }
        var results = CollectorChecks.database(facts)
        if let directory = facts.localDataDirectory {
            results.append(
                program.space(
                    directory, bytesMin: Self.freeBytesMin, consequence: "PostgreSQL stops soon"))
        }
        return results + CollectorChecks.hosts(facts.hosts, now: LiveClock().now.milliseconds)
    }
}

extension AlertingConfiguration {
    /// Files that hold secrets of receivers, each once, in the order of the file.
    var secretFiles: [String] {
        var paths: [String] = []
        func note(_ secret: Secret?) {
            guard case .file(let path) = secret, !paths.contains(path) else { return }
            paths.append(path)
        }
        for integration in receivers.flatMap(\.integrations) {
            let http: ReceiverHTTP
            switch integration.kind {
            case .webhook(let receiver):
                note(receiver.url)
                http = receiver.http
            case .slack(let receiver):
                note(receiver.url)
                http = receiver.http
            case .discord(let receiver):
                note(receiver.url)
                http = receiver.http
            }
            note(http.proxy)
            switch http.authorization {
            case .none: break
            case .scheme(_, let secret): note(secret)
            case .basic(_, let password): note(password)
            }
        }
        return paths
    }
}
