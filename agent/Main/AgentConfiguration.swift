import AgentRead
import AgentScrape
import Model
import Startup
import World
import YAMLDocument

/// `/etc/petrel/agent.yaml`. Every default works without a file; an unknown key is an error with its place.
struct AgentConfiguration: Sendable {
    /// A log file that is followed by name, or the files of a pattern.
    struct LogFile: Hashable, Sendable {
        /// Where records have several lines.
        struct Multiline: Hashable, Sendable {
            var start: String
            var linesMax: Int
            var wait: PrometheusDuration
        }

        var path: String
        var exclude: [String] = []
        /// Nil: a file's name up to its first dot.
        var service: String?
        /// Whether files that are there at the first start are read from their beginning.
        var readsFromHead = true
        var multiline: Multiline?
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
    /// What is read of the services beside the agent.
    var services = ServiceOptions()
    /// Which security settings are checked.
    var posture = PostureOptions()
    var readsJournal = true
    /// Empty: the machine's own journal.
    var journalDirectory = ""
    /// What a first start reads of the journal: everything, or only what comes after.
    var readsJournalFromHead = false
    var files: [LogFile] = []
    /// Whether the logs of Docker's containers are read.
    var readsDocker = true
    /// Their folder; empty: it is looked for.
    var dockerFolder = ""
    /// What is scraped beside the host's own readers, after relabeling.
    var scrapeTargets: [ScrapeTarget] = []
    /// What never leaves the host, and what log lines are counted by.
    var redaction = RedactionConfiguration()
    var logMetrics = LogMetricsConfiguration()
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
        services = try ServiceOptions(&root)
        posture = try PostureOptions(&root)
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
        try readFiles(&logs)
        readsDocker = try logs.bool("docker", default: readsDocker)
        dockerFolder = try logs.string("docker_folder", default: dockerFolder)
        guard dockerFolder.isEmpty || dockerFolder.hasPrefix("/") else {
            throw logs.error(
                at: "docker_folder", "expected an absolute path, found `\(dockerFolder)`")
        }
        try redaction.read(&logs)
        try logMetrics.read(&logs)
        try logs.finish()
    }

    private mutating func readFiles(_ logs: inout YAMLMapping) throws(YAMLError) {
        var seen: Set<String> = []
        for var entry in try logs.mappings("files") {
            guard files.count < Self.filesMax else {
                throw entry.error("at most \(Self.filesMax) entries; a `path` can be a pattern")
            }
            let path = try entry.requiredString("path")
            guard path.hasPrefix("/") else {
                throw entry.error(at: "path", "expected an absolute path, found `\(path)`")
            }
            guard !path.split(separator: "/").contains("**") else {
                throw entry.error(at: "path", "`**` is not known; `*` stands for one folder")
            }
            guard seen.insert(path).inserted else {
                throw entry.error(at: "path", "`\(path)` is listed twice")
            }
            var file = LogFile(path: path)
            file.exclude = try entry.strings("exclude")
            file.service = try entry.string("service")
            file.readsFromHead =
                try entry.choice("start", ["head", "tail"], default: "head") == "head"
            if var multiline = try entry.mapping("multiline") {
                file.multiline = try Self.multiline(&multiline)
            }
            try entry.finish()
            files.append(file)
        }
    }

    private static func multiline(
        _ section: inout YAMLMapping
    ) throws(YAMLError) -> LogFile.Multiline {
        let start = try section.requiredString("start")
        do throws(ReadError) {
            _ = try MultilineConfiguration(pattern: start)
        } catch { throw section.error(at: "start", "\(error)") }
        let multiline = LogFile.Multiline(
            start: start,
            linesMax: try section.int("lines_max", default: 500, range: 2...10_000),
            wait: try section.duration(
                "wait", default: PrometheusDuration(milliseconds: 1_000),
                range: PrometheusDuration(
                    milliseconds: 100)...PrometheusDuration(milliseconds: 60_000)))
        try section.finish()
        return multiline
    }

    /// The folders whose containers' logs are read.
    func dockerFolders(_ tree: any WorldFileTree) -> [String] {
        readsDocker ? DockerLogs.folders(dockerFolder, in: tree) : []
    }

    /// Entries of `logs.files`: each has a thread.
    private static let filesMax = 32

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

extension AgentConfiguration.LogFile {
    /// What the reader takes. Throws `malformed` where the pattern of a record's start is none, which reading the
    /// configuration has refused.
    func readerConfiguration() throws(ReadError) -> FileSetConfiguration {
        var tail = FileTailConfiguration(path: "", start: readsFromHead ? .head : .tail)
        if let multiline {
            tail.multiline = try MultilineConfiguration(
                pattern: multiline.start, linesMax: multiline.linesMax,
                waitNanoseconds: multiline.wait.milliseconds * 1_000_000)
        }
        return FileSetConfiguration(
            path: path, exclude: exclude, serviceName: service, tail: tail)
    }
}
