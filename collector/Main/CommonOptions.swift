import ArgumentParser
import CollectorStore
import Glibc
import Identity
import Logging
import Model
import Postgres
import Storage
import World
import WorldLive
import YAMLDocument

/// What went wrong before the collector's work began, said in one line with its remedy.
struct StartError: Error, CustomStringConvertible {
    var description: String
    init(_ description: String) { self.description = description }
}

/// The options that every command takes; a flag wins over the file.
struct CommonOptions: ParsableArguments {
    @Option(help: "Configuration file (default /etc/petrel/collector.yaml, where it exists).")
    var config: String?
    @Option(help: "Folder of the authority's key and the private PostgreSQL.")
    var dataDir: String?
    @Option(help: "PostgreSQL to use instead of a private one (libpq connection string).")
    var databaseURL: String?
    @Option(help: "Address and port of the HTTP API.")
    var http: String?
    @Option(help: "Address and port of the fleet's streams.")
    var fleet: String?
    @Option(help: "Address and port of enrolment.")
    var enroll: String?
    @Option(help: "Address and port of the public part.")
    var `public`: String?

    static let standardFile = "/etc/petrel/collector.yaml"

    /// The configuration: defaults, file, flags.
    func configuration() throws -> CollectorConfiguration {
        let files = LiveFileTree()
        var configuration = CollectorConfiguration()
        let path = config ?? Self.standardFile
        if config != nil || (try? files.status(path)) != nil {
            configuration = try CollectorConfiguration(
                text: readText(path, files), file: path)
        }
        if let dataDir { configuration.dataDirectory = dataDir }
        if let databaseURL { configuration.databaseURL = databaseURL }
        configuration.http = try address(http, "--http", configuration.http)
        configuration.fleet = try address(fleet, "--fleet", configuration.fleet)
        configuration.enroll = try address(enroll, "--enroll", configuration.enroll)
        configuration.publicPart = try address(`public`, "--public", configuration.publicPart)
        if !configuration.dataDirectory.hasPrefix("/") {
            configuration.dataDirectory =
                currentDirectory() + "/" + configuration.dataDirectory
        }
        return configuration
    }

    private func address(
        _ text: String?, _ flag: String, _ fallback: AddressAndPort
    ) throws -> AddressAndPort {
        guard let text else { return fallback }
        guard let address = AddressAndPort(text) else {
            throw ValidationError("\(flag): expected ADDRESS:PORT, found '\(text)'")
        }
        return address
    }
}

/// The text of a configuration file.
func readText(_ path: String, _ files: LiveFileTree) throws -> String {
    do throws(FileError) {
        return String(decoding: try files.contents(path), as: UTF8.self)
    } catch {
        throw StartError("\(path): can't be read: \(String(cString: strerror(error.errno)))")
    }
}

func currentDirectory() -> String {
    guard let path = getcwd(nil, 0) else { return "/" }
    defer { free(path) }
    return String(cString: path)
}

func makeLogger(_ label: String, level: String) -> Logger {
    var logger = Logger(label: label) { StreamLogHandler.standardError(label: $0) }
    logger.logLevel = Logger.Level(rawValue: level) ?? .info
    return logger
}

extension CollectorConfiguration {
    var storeConfiguration: StoreConfiguration {
        let database: StoreConfiguration.Database =
            databaseURL.isEmpty
            ? .privateCluster(
                PrivateClusterConfiguration(
                    stateDirectory: dataDirectory, systemUser: databaseUser))
            : .url(databaseURL)
        return StoreConfiguration(
            database: database, writeConnectionsMax: max(2, databaseConnectionsMax / 2),
            readConnectionsMax: max(2, databaseConnectionsMax / 2),
            queryMillisecondsMax: Int(queryTimeout.milliseconds),
            metricRetentionHours: Int(retention.milliseconds / 3_600_000),
            logRetentionDays: Int(retention.milliseconds / 86_400_000))
    }

    /// Makes the state folder where it is missing; says what is wrong with it.
    func prepareDataDirectory(_ files: LiveFileTree) throws {
        do throws(FileError) {
            try files.makeDirectory(dataDirectory)
            let probe = dataDirectory + "/.writable"
            try? files.remove(probe)
            try files.open(probe, .createNew).close()
            try files.remove(probe)
        } catch {
            throw StartError(
                "the state folder \(dataDirectory) is not writable (\(String(cString: strerror(error.errno)))): "
                    + "create it for this user or choose another with --data-dir")
        }
    }

    /// The fleet's authority: read from the state folder, made there at the first start.
    func authority(
        _ files: LiveFileTree, random: any RandomSource, now: TimestampMS
    ) throws -> CertificateAuthority {
        try AuthorityStore(files: files, folder: dataDirectory + "/authority")
            .loadOrCreate(fleet: fleetName, random: random, now: now)
    }

    /// Names under which agents reach the collector, best first; the listener's own address where it is a real one.
    var reachableNames: [String] {
        let isAny = ["0.0.0.0", "::"].contains(fleet.address)
        return advertised + (isAny ? [] : [fleet.address])
    }
}
