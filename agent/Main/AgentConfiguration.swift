import AgentRead
import AgentScrape
import Model
import Startup
import YAMLDocument

/// `/etc/petrel/agent.yaml`. Every default works without a file; an unknown key is an error with its place.
struct AgentConfiguration: Sendable {
    /// One log file that is followed by name.
    struct LogFile: Hashable, Sendable {
        var path: String
        var service: String
    }

    var listen = "127.0.0.1:9100"
    var stateDirectory = "/var/lib/petrel/agent"
    var role = ""
    /// Scrape grid of the node readers.
    var interval = PrometheusDuration(milliseconds: 15_000)
    /// Which node readers run, and how.
    var nodeOptions = NodeOptions()
    /// How long one reader may take.
    var readerDeadline = PrometheusDuration(milliseconds: 5_000)
    var readsJournal = true
    /// Empty: the machine's own journal.
    var journalDirectory = ""
    /// What a first start reads of the journal: everything, or only what comes after.
    var readsJournalFromHead = false
    var files: [LogFile] = []
    /// What is scraped beside the host's own readers, after relabeling.
    var scrapeTargets: [ScrapeTarget] = []
    var spoolBytesMax = 512 << 20
    /// Wait of the group commit: a record is durable at most this long after it was read.
    var spoolFlush = PrometheusDuration(milliseconds: 200)
    var logLevel = "info"
    var logFormat = LogFormat.auto

    init() {}

    /// Reads `text`; `file` is named in errors.
    init(text: String, file: String) throws(YAMLError) {
        var root = try YAMLMapping.parse(text, file: file)
        listen = try root.string("listen", default: listen)
        stateDirectory = try root.string("state_dir", default: stateDirectory)
        role = try root.string("role", default: role)
        logLevel = try root.choice(
            "log_level", ["debug", "info", "warning", "error"], default: logLevel)
        logFormat = try root.logFormat(default: logFormat)
        try readMetrics(&root)
        let jobs = try ScrapeJob.readAll(&root, interval: interval)
        do throws(TargetProblem) {
            scrapeTargets = try ScrapeTarget.all(jobs)
        } catch { throw root.error(at: "scrape", "\(error)") }
        try readLogs(&root)
        try readSpool(&root)
        try root.finish()
        guard AddressAndPort(listen) != nil else {
            throw root.error(at: "listen", "expected ADDRESS:PORT, such as 127.0.0.1:9100")
        }
    }

    private mutating func readMetrics(_ root: inout YAMLMapping) throws(YAMLError) {
        var metrics = try root.section("metrics")
        interval = try metrics.duration(
            "interval", default: interval,
            range: PrometheusDuration(
                milliseconds: 1_000)...PrometheusDuration(milliseconds: 3_600_000))
        readerDeadline = try metrics.duration(
            "reader_deadline", default: readerDeadline,
            range: PrometheusDuration(milliseconds: 100)...interval)
        readerDeadline = min(readerDeadline, interval)
        try nodeOptions.read(&metrics)
        try metrics.finish()
    }

    private mutating func readLogs(_ root: inout YAMLMapping) throws(YAMLError) {
        var logs = try root.section("logs")
        var journal = try logs.section("journal")
        readsJournal = try journal.bool("enabled", default: readsJournal)
        journalDirectory = try journal.string("directory", default: journalDirectory)
        let start = try journal.choice("start", ["head", "tail"], default: "tail")
        readsJournalFromHead = start == "head"
        try journal.finish()
        var seen: Set<String> = []
        for var entry in try logs.mappings("files") {
            let path = try entry.requiredString("path")
            guard path.hasPrefix("/") else {
                throw entry.error(at: "path", "expected an absolute path, found `\(path)`")
            }
            guard seen.insert(path).inserted else {
                throw entry.error(at: "path", "`\(path)` is listed twice")
            }
            let name = path.split(separator: "/").last.map(String.init) ?? path
            let service = try entry.string(
                "service", default: String(name.prefix { $0 != "." }))
            try entry.finish()
            files.append(LogFile(path: path, service: service))
        }
        try logs.finish()
    }

    private mutating func readSpool(_ root: inout YAMLMapping) throws(YAMLError) {
        var spool = try root.section("spool")
        spoolBytesMax = try spool.byteCount(
            "size_max", default: spoolBytesMax, range: (32 << 20)...(1 << 40))
        spoolFlush = try spool.duration(
            "flush", default: spoolFlush,
            range: PrometheusDuration(milliseconds: 10)...PrometheusDuration(milliseconds: 5_000))
        try spool.finish()
    }
}
