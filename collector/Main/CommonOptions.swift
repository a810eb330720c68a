import ArgumentParser
import CollectorStore
import CollectorWeb
import Identity
import Logging
import Model
import Postgres
import Startup
import World
import WorldLive

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
        var configuration = CollectorConfiguration()
        if let (path, text) = try StartFiles.live.configurationText(
            named: config, standard: Self.standardFile)
        {
            configuration = try CollectorConfiguration(text: text, file: path)
        }
        if let dataDir { configuration.dataDirectory = dataDir }
        if let databaseURL { configuration.databaseURL = databaseURL }
        configuration.databasePassword = try DatabasePassword.read(
            configuration.databasePasswordFile)
        configuration.http = try address(http, "--http", configuration.http)
        configuration.fleet = try address(fleet, "--fleet", configuration.fleet)
        configuration.enroll = try address(enroll, "--enroll", configuration.enroll)
        configuration.publicPart = try address(`public`, "--public", configuration.publicPart)
        configuration.dataDirectory = StartFiles.live.absolute(configuration.dataDirectory)
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

extension StartFiles {
    /// The machine's.
    static var live: StartFiles {
        StartFiles(files: LiveFileTree(), surroundings: LiveSurroundings())
    }
}

extension CollectorConfiguration {
    var webConfiguration: WebConfiguration {
        WebConfiguration(
            address: http.address, port: http.port, hostNames: httpHostNames,
            allowedOrigins: httpAllowedOrigins.map(\.text),
            offersAdministration: httpOffersAdministration)
    }

    var storeConfiguration: StoreConfiguration {
        let database: StoreConfiguration.Database =
            databaseURL.isEmpty
            ? .privateCluster(
                PrivateClusterConfiguration(
                    stateDirectory: dataDirectory, systemUser: databaseUser))
            : .url(databaseURL)
        var configuration = StoreConfiguration(
            database: database, password: databasePassword,
            writeConnectionsMax: max(2, databaseConnectionsMax / 2),
            readConnectionsMax: max(2, databaseConnectionsMax / 2),
            queryMillisecondsMax: Int(queryTimeout.milliseconds),
            seriesMax: seriesMax, seriesPerHostMax: seriesPerHostMax,
            seriesPerMetricMax: seriesPerMetricMax,
            metricRetentionHours: Int(retention.age.milliseconds / 3_600_000),
            logRetentionDays: Int(retention.age.milliseconds / 86_400_000))
        configuration.retentionRules = retention.classes
        configuration.metricBytesMax = retention.metricBytesMax
        configuration.logBytesMax = retention.logBytesMax
        configuration.logPackDays = retention.logPackDays
        configuration.exemplarsPerMinuteMax = exemplarsPerMinuteMax
        return configuration
    }

    /// Makes the state folder where it is missing; says what is wrong with it.
    func prepareDataDirectory(_ files: LiveFileTree) throws(StartError) {
        try StartFiles(files: files, surroundings: LiveSurroundings()).prepareStateFolder(
            dataDirectory, flag: "--data-dir")
    }

    /// The collector's own log. `level` wins over the configuration's.
    func logger(_ surroundings: any Surroundings, level: String? = nil) -> Logger {
        Logger(
            label: "petrel-collector", level: level ?? logLevel, format: logFormat,
            surroundings: surroundings, clock: LiveClock())
    }

    /// The fleet's authority: read from the state folder, made there at the first start.
    func authority(
        _ files: LiveFileTree, random: any RandomSource, now: TimestampMS
    ) throws -> CertificateAuthority {
        try AuthorityStore(files: files, folder: dataDirectory + "/authority")
            .loadOrCreate(fleet: fleetName, random: random, now: now)
    }
}
