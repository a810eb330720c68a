import CollectorWeb
import Model
import Postgres
import PromQLSyntax
import Startup
import YAMLDocument

/// `/etc/petrel/collector.yaml`. Every default works without a file; an unknown key is an error with its place.
struct CollectorConfiguration: Sendable {
    var dataDirectory = "/var/lib/petrel/collector"
    /// A libpq connection string; empty runs a private PostgreSQL under `dataDirectory`.
    var databaseURL = ""
    /// File of the password for `databaseURL`: a path, or the name of a secret (`DatabasePassword`); empty: none.
    var databasePasswordFile = ""
    /// What that file holds; read with the configuration.
    var databasePassword: PostgresPassword?
    var databaseConnectionsMax = 12
    /// System user that runs the private PostgreSQL when the collector is root.
    var databaseUser = "postgres"
    var http = AddressAndPort(address: "127.0.0.1", port: 9600)
    /// Names beside localhost under which the HTTP API may be asked, as through a proxy that passes `Host` on.
    var httpHostNames: [String] = []
    /// Origins beside loopback ones whose pages the HTTP API answers.
    var httpAllowedOrigins: [WebOrigin] = []
    /// Whether series may be deleted over HTTP.
    var httpOffersAdministration = false
    var fleet = AddressAndPort(address: "0.0.0.0", port: 9601)
    var enroll = AddressAndPort(address: "0.0.0.0", port: 9602)
    var publicPart = AddressAndPort(address: "127.0.0.1", port: 9603)
    /// Names and addresses by which agents reach the collector; in its certificate and in tokens.
    var advertised: [String] = []
    var fleetName = "petrel"
    /// Where a person finds the collector; linked in notifications.
    var externalURL = ""
    var retention = RetentionSection()
    var ruleFiles = ["/etc/petrel/rules.d/*.yaml"]
    var alertingFile = "/etc/petrel/alerting.yaml"
    /// Whether `alertingFile` was named, so that its absence is an error.
    var namesAlertingFile = false
    var evaluationInterval = PrometheusDuration(milliseconds: 15_000)
    /// What of PromQL is understood beyond its stable part, in queries and in rules.
    var queryFeatures: Set<PromQLFeature> = []
    var queriesMax = 20
    var queryTimeout = PrometheusDuration(milliseconds: 120_000)
    var querySamplesMax = 20_000_000
    var querySamplesTotalMax = 40_000_000
    var queryPointsMax = 10_000_000
    var querySeriesMax = 200_000
    var seriesMax = 1_000_000
    var seriesPerHostMax = 100_000
    var exemplarsPerMinuteMax = 200
    var seriesPerMetricMax = 50_000
    var logLevel = "info"
    var logFormat = LogFormat.auto

    init() {}

    /// Reads `text`; `file` is named in errors.
    init(text: String, file: String) throws(YAMLError) {
        var root = try YAMLMapping.parse(text, file: file)
        dataDirectory = try root.string("data_dir", default: dataDirectory)
        externalURL = try root.string("external_url", default: externalURL)
        logLevel = try root.choice(
            "log_level", ["debug", "info", "warning", "error"], default: logLevel)
        logFormat = try root.logFormat(default: logFormat)
        try readDatabase(&root)
        try readListeners(&root)
        try readRules(&root)
        try readQuery(&root)
        retention = try RetentionSection(&root)
        var limits = try root.section("limits")
        queriesMax = try limits.int("concurrent_queries", default: queriesMax, range: 1...1000)
        queryTimeout = try limits.duration("query_timeout", default: queryTimeout)
        querySamplesMax = try limits.int(
            "query_samples", default: querySamplesMax, range: 1000...1_000_000_000)
        querySamplesTotalMax = try limits.int(
            "query_samples_total", default: max(querySamplesTotalMax, querySamplesMax),
            range: querySamplesMax...10_000_000_000)
        queryPointsMax = try limits.int(
            "query_points", default: queryPointsMax, range: 11_000...1_000_000_000)
        querySeriesMax = try limits.int(
            "query_series", default: querySeriesMax, range: 1000...10_000_000)
        seriesMax = try limits.int("series_max", default: seriesMax, range: 1000...100_000_000)
        seriesPerHostMax = try limits.int(
            "series_per_host_max", default: seriesPerHostMax, range: 100...100_000_000)
        exemplarsPerMinuteMax = try limits.int(
            "exemplars_per_minute", default: exemplarsPerMinuteMax, range: 0...1_000_000)
        seriesPerMetricMax = try limits.int(
            "series_per_metric_max", default: seriesPerMetricMax, range: 100...100_000_000)
        try limits.finish()
        try root.finish()
    }

    private mutating func readDatabase(_ root: inout YAMLMapping) throws(YAMLError) {
        var database = try root.section("database")
        databaseURL = try database.string("url", default: databaseURL)
        databasePasswordFile = try database.string("password_file", default: "")
        databaseConnectionsMax = try database.int(
            "connections", default: databaseConnectionsMax, range: 4...200)
        databaseUser = try database.string("user", default: databaseUser)
        try database.finish()
    }

    private mutating func readListeners(_ root: inout YAMLMapping) throws(YAMLError) {
        var http = try root.section("http")
        self.http = try address(&http, "listen", self.http)
        publicPart = try address(&http, "public", publicPart)
        httpHostNames = try http.strings("host_names", default: httpHostNames)
        for text in try http.strings("allowed_origins") {
            guard let origin = WebOrigin(text) else {
                throw http.error(
                    at: "allowed_origins",
                    "expected http://HOST or https://HOST, with :PORT where it is another than 80 "
                        + "or 443, and no path, found `\(text)`")
            }
            httpAllowedOrigins.append(origin)
        }
        httpOffersAdministration = try http.bool("admin", default: httpOffersAdministration)
        try http.finish()
        var fleet = try root.section("fleet")
        self.fleet = try address(&fleet, "listen", self.fleet)
        enroll = try address(&fleet, "enroll", enroll)
        fleetName = try fleet.string("name", default: fleetName)
        advertised = try fleet.strings("advertise", default: advertised)
        try fleet.finish()
    }

    private mutating func readRules(_ root: inout YAMLMapping) throws(YAMLError) {
        var rules = try root.section("rules")
        ruleFiles = try rules.strings("files", default: ruleFiles)
        evaluationInterval = try rules.duration(
            "interval", default: evaluationInterval,
            range: PrometheusDuration(
                milliseconds: 1_000)...PrometheusDuration(milliseconds: 86_400_000))
        try rules.finish()
        var alerting = try root.section("alerting")
        namesAlertingFile = alerting.has("file")
        alertingFile = try alerting.string("file", default: alertingFile)
        try alerting.finish()
    }

    private mutating func readQuery(_ root: inout YAMLMapping) throws(YAMLError) {
        var query = try root.section("query")
        for name in try query.strings("features") {
            guard let feature = PromQLFeature(rawValue: name) else {
                let known = PromQLFeature.allCases.map(\.rawValue).joined(separator: ", ")
                throw query.error(at: "features", "expected some of \(known), found `\(name)`")
            }
            queryFeatures.insert(feature)
        }
        try query.finish()
    }

    private func address(
        _ mapping: inout YAMLMapping, _ key: String, _ fallback: AddressAndPort
    ) throws(YAMLError) -> AddressAndPort {
        guard let text = try mapping.string(key) else { return fallback }
        guard let address = AddressAndPort(text) else {
            throw mapping.error(at: key, "expected ADDRESS:PORT, found `\(text)`")
        }
        return address
    }
}
