import ArgumentParser
import CollectorStore
import Logging
import PromQLSyntax
import Routing
import Rules
import Startup
import Storage
import WorldLive

/// `petrel-collector migrate`: brings the database's schema up to date and ends.
struct MigrateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "migrate", abstract: "Brings the database's schema up to date.")
    @OptionGroup var common: CommonOptions

    func run() async throws {
        let configuration = try common.configuration()
        try configuration.becomeDataOwner()
        try configuration.prepareDataDirectory(LiveFileTree())
        do {
            let applied = try await CollectorStore.migrate(
                configuration: configuration.storeConfiguration,
                logger: configuration.logger(LiveSurroundings(), level: "warning"))
            print(
                applied.isEmpty
                    ? "the schema is up to date"
                    : "applied migrations \(applied.map(String.init).joined(separator: ", "))")
        } catch {
            throw StartError(explain(error))
        }
    }
}

/// `petrel-collector verify`: decodes everything that is stored and reports.
struct VerifyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify", abstract: "Decodes everything that is stored and reports.")
    @OptionGroup var common: CommonOptions

    func run() async throws {
        try await withStore(common.configuration()) { store in
            let report = try await StoreVerifier(store).verify()
            print(report)
            if !report.isSound { throw ExitCode.failure }
        }
    }
}

/// `petrel-collector check-config`: says what is wrong with the configuration, the rules and the routes.
struct CheckConfigCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check-config",
        abstract: "Checks the configuration, rule files and alerting file without starting.")
    @OptionGroup var common: CommonOptions

    func run() async throws {
        let configuration = try common.configuration()
        let rules = try RuleLoading.load(configuration)
        let routing = try RuleLoading.routing(configuration)
        _ = try RuleLoading.templates(routing ?? .standard)
        let count = rules.reduce(0) { $0 + $1.rules.count }
        print(
            "ok: \(rules.count) rule groups with \(count) rules, \(routing?.receivers.count ?? 0) receivers"
        )
    }
}

/// The store, or one line that says what to do. `writesMetrics`: as the collector itself, in place of any other.
func openStore(
    _ configuration: CollectorConfiguration, logger: Logger, writesMetrics: Bool = false
) async throws -> CollectorStore {
    do throws(StorageError) {
        let store = try await CollectorStore.open(
            configuration: configuration.storeConfiguration, clock: LiveClock(),
            random: LiveRandom(), logger: logger)
        guard writesMetrics else { return store }
        do throws(StorageError) { try await store.takeOverMetrics() } catch {
            await store.close()
            throw error
        }
        return store
    } catch {
        throw StartError(explain(error))
    }
}

/// A storage error as a person reads it.
func explain(_ error: StorageError) -> String {
    switch error {
    case .unavailable(let text): "the database can't be used: \(text)"
    case .exhausted(let text): "the database has no room left: \(text)"
    case .limitExceeded(let limit, let maximum): "the limit \(limit) (\(maximum)) was reached"
    case .seriesRemoved: "a series was removed while it was written to"
    case .badMatcher(let text): "bad matcher: \(text)"
    case .corrupt(let text): "stored data does not decode: \(text)"
    case .refused(let text): "the database refuses: \(text)"
    case .cancelled: "cancelled"
    }
}
