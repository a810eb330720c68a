package import Model

/// What the running agent does and what is in its way: `petrel-agent status`.
///
/// Facts as the agent has them at one moment; `text` is for a person.
package struct AgentStatus: Sendable {
    /// What went wrong, and when.
    package struct Fault: Hashable, Sendable {
        package var text: String
        package var at: TimestampNS

        package init(_ text: String, at: TimestampNS) {
            self.text = text
            self.at = at
        }
    }

    /// What the agent was told to do.
    package struct Configuration: Hashable, Sendable {
        /// Nil where only defaults hold.
        package var file: String?
        package var takenAt: TimestampNS
        /// Why a newer one was not taken.
        package var fault: Fault?
        /// Keys that have another value in the file and are taken at a start alone.
        package var waiting: [String]

        package init(
            file: String?, takenAt: TimestampNS, fault: Fault? = nil, waiting: [String] = []
        ) {
            self.file = file
            self.takenAt = takenAt
            self.fault = fault
            self.waiting = waiting
        }
    }

    /// The certificate in use.
    package struct Certificate: Hashable, Sendable {
        package var host: String
        package var notBefore: TimestampMS
        package var notAfter: TimestampMS

        package init(host: String, notBefore: TimestampMS, notAfter: TimestampMS) {
            self.host = host
            self.notBefore = notBefore
            self.notAfter = notAfter
        }
    }

    /// A spool and the stream that empties it.
    package struct Stream: Hashable, Sendable {
        package var name: String
        /// Records that the collector has not acknowledged, and the bytes of the spool on disk.
        package var records: UInt64 = 0
        package var bytes: UInt64 = 0
        package var bytesMax: UInt64 = 0
        /// When the oldest of `records` was spooled; nil where there is none, or it can't be read.
        package var oldestAt: TimestampNS?
        /// Records lost and accounted for.
        package var gapRecords: UInt64 = 0
        /// What a spool does that is at its bound; nil where there is room.
        package var full: String?
        /// The disk refuses, what is read is held in memory.
        package var isDegraded = false
        /// Nil while the collector is away.
        package var connectedAt: TimestampNS?
        package var fault: Fault?

        package init(_ name: String) { self.name = name }
    }

    /// What is read or scraped, one at a time.
    package struct Source: Hashable, Sendable {
        package var name: String
        /// Why nothing of it can be read.
        package var error: String?
        /// What of it can't be read, with what to do.
        package var problems: [String]
        /// Of the last log entry or the last scrape; nil: there was none since the start.
        package var lastAt: TimestampNS?

        package init(
            _ name: String, error: String? = nil, problems: [String] = [],
            lastAt: TimestampNS? = nil
        ) {
            self.name = name
            self.error = error
            self.problems = problems
            self.lastAt = lastAt
        }
    }

    /// A reader's last reading.
    package struct Reader: Hashable, Sendable {
        package var name: String
        package var samples: Int
        package var durationNanoseconds: Int64
        package var error: String?
        package var problems: [String]

        package init(
            _ name: String, samples: Int, durationNanoseconds: Int64, error: String? = nil,
            problems: [String] = []
        ) {
            self.name = name
            self.samples = samples
            self.durationNanoseconds = durationNanoseconds
            self.error = error
            self.problems = problems
        }
    }

    package var now: TimestampNS
    package var startedAt: TimestampNS
    package var version: String
    package var process: Int32
    package var configuration: Configuration
    /// Nil where there is none that can be used, and `identityError` says why.
    package var certificate: Certificate?
    package var identityError = ""
    package var renewals: UInt64 = 0
    /// Why the last renewal failed, where it did.
    package var renewalFault: Fault?
    /// `NAME:PORT`, empty where it is not known.
    package var collector = ""
    package var streams: [Stream] = []
    package var logs: [Source] = []
    /// Nil before the first reading.
    package var readers: [Reader]?
    package var targets: [Source] = []

    package init(
        now: TimestampNS, startedAt: TimestampNS, version: String, process: Int32,
        configuration: Configuration
    ) {
        self.now = now
        self.startedAt = startedAt
        self.version = version
        self.process = process
        self.configuration = configuration
    }

    /// Whether the agent can do its work: it has a certificate that holds, and room in its spools. A collector that is away
    /// or a reader that fails hinders no other.
    package var isWell: Bool {
        guard let certificate, now.milliseconds <= certificate.notAfter else { return false }
        return streams.allSatisfy { $0.full == nil && !$0.isDegraded }
    }

    // MARK: - As text

    /// Lines of at most a screen's width but for what programs and services said themselves; what was said is escaped.
    package var text: String {
        var sheet = StatusSheet()
        writeAgent(&sheet)
        writeIdentity(&sheet)
        writeStreams(&sheet)
        writeLogs(&sheet)
        writeReaders(&sheet)
        writeTargets(&sheet)
        return sheet.text
    }

    private func writeAgent(_ sheet: inout StatusSheet) {
        sheet.fact(
            "agent",
            "running since \(Self.time(startedAt)) (\(Self.age(startedAt, now))), version "
                + "\(version), process \(process)")
        sheet.fact(
            "configuration",
            "\(configuration.file ?? "defaults, no file"), taken at "
                + Self.time(configuration.takenAt))
        if let fault = configuration.fault {
            sheet.note("a newer one is not taken, \(said(fault))")
        }
        if !configuration.waiting.isEmpty {
            sheet.note(
                "changed and taken at a start alone: "
                    + "\(configuration.waiting.joined(separator: ", ")); "
                    + "sudo systemctl restart petrel-agent")
        }
    }

    private func writeIdentity(_ sheet: inout StatusSheet) {
        if let certificate {
            let life = certificate.notAfter.rawValue - certificate.notBefore.rawValue
            let renewal = certificate.notBefore.advanced(byMilliseconds: life / 2)
            let left = certificate.notAfter.rawValue - now.milliseconds.rawValue
            let until =
                left < 0
                ? "ENDED at \(Self.time(certificate.notAfter.nanoseconds))"
                : "until \(Self.time(certificate.notAfter.nanoseconds)) (\(left / 86_400_000) days "
                    + "left)"
            sheet.fact("identity", "\(certificate.host), certificate \(until)")
            sheet.note(
                "renews itself from \(Self.time(renewal.nanoseconds)) on, \(renewals) times since "
                    + "the start")
        } else {
            sheet.fact("identity", identityError)
        }
        if let renewalFault { sheet.note("last renewal failed, \(said(renewalFault))") }
        sheet.fact("collector", collector.isEmpty ? "not known" : collector)
    }

    private func writeStreams(_ sheet: inout StatusSheet) {
        sheet.table(
            ["SPOOL", "RECORDS", "SIZE", "OLDEST", "LOST", "STATE", "COLLECTOR"],
            streams.map { stream in
                let state = stream.isDegraded ? "the disk refuses, held in memory" : stream.full
                let connection =
                    stream.connectedAt.map { "connected since \(Self.time($0))" } ?? "away"
                return (
                    [
                        stream.name, "\(stream.records)",
                        "\(Self.size(stream.bytes)) of \(Self.size(stream.bytesMax))",
                        stream.oldestAt.map { Self.age($0, now) } ?? "-", "\(stream.gapRecords)",
                        state ?? "ok", connection,
                    ], stream.fault.map { ["last error \(said($0))"] } ?? []
                )
            })
    }

    private func writeLogs(_ sheet: inout StatusSheet) {
        sheet.table(
            ["LOG SOURCE", "STATE", "LAST ENTRY"],
            logs.map { source in
                (
                    [
                        source.name, source.error == nil ? "read" : "FAILS",
                        source.lastAt.map { "\(Self.age($0, now)) ago" } ?? "none since the start",
                    ], [source.error].compactMap(\.self) + source.problems
                )
            })
    }

    private func writeReaders(_ sheet: inout StatusSheet) {
        guard let readers else {
            sheet.table(["READER"], [(["the first reading is under way"], [])])
            return
        }
        let found = readers.filter { $0.samples > 0 || $0.error != nil || !$0.problems.isEmpty }
        sheet.table(
            ["READER", "STATE", "SAMPLES", "TOOK"],
            found.map { reader in
                (
                    [
                        reader.name, reader.error == nil ? "read" : "FAILS", "\(reader.samples)",
                        Self.milliseconds(reader.durationNanoseconds),
                    ], [reader.error].compactMap(\.self) + reader.problems
                )
            })
        let idle = readers.map(\.name).filter { name in !found.contains { $0.name == name } }
        if !idle.isEmpty { sheet.wrapped("not here", idle) }
    }

    private func writeTargets(_ sheet: inout StatusSheet) {
        sheet.table(
            ["SCRAPE TARGET", "STATE", "LAST SCRAPE"],
            targets.map { target in
                let state = target.lastAt == nil ? "-" : target.error == nil ? "up" : "DOWN"
                return (
                    [
                        target.name, state,
                        target.lastAt.map { "\(Self.age($0, now)) ago" } ?? "none yet",
                    ], [target.error].compactMap(\.self) + target.problems
                )
            })
    }

    private func said(_ fault: Fault) -> String { "\(Self.age(fault.at, now)) ago: \(fault.text)" }

    /// To the second.
    private static func time(_ time: TimestampNS) -> String {
        RFC3339.text(TimestampNS(time.rawValue / 1_000_000_000 * 1_000_000_000))
    }

    /// The two largest units of what lies between; a clock that was set back makes it `0s`.
    static func age(_ since: TimestampNS, _ now: TimestampNS) -> String {
        let seconds = max(0, now.rawValue - since.rawValue) / 1_000_000_000
        let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60)
        if days > 0 { return "\(days)d \(hours)h" }
        if hours > 0 { return "\(hours)h \(minutes)m" }
        return minutes > 0 ? "\(minutes)m \(seconds % 60)s" : "\(seconds)s"
    }

    /// In MiB, with a tenth below 100.
    private static func size(_ bytes: UInt64) -> String {
        let tenths = (bytes * 10) >> 20
        return tenths < 1000 ? "\(tenths / 10).\(tenths % 10) MiB" : "\(tenths / 10) MiB"
    }

    private static func milliseconds(_ nanoseconds: Int64) -> String {
        let tenths = max(0, nanoseconds) / 100_000
        return "\(tenths / 10).\(tenths % 10) ms"
    }
}

/// Facts and tables, aligned.
struct StatusSheet {
    private var line = LineText()
    /// Of a name of `fact`, with what follows it.
    private static let factWidth = 15
    private static let textBytesMax = 1000
    private static let lineWidth = 100

    var text: String { String(decoding: line.bytes, as: UTF8.self) }

    /// `name` and a sentence.
    mutating func fact(_ name: String, _ value: String) {
        line.raw(Self.padded(name, Self.factWidth))
        end(value)
    }

    /// More of the fact above.
    mutating func note(_ value: String) { fact("", value) }

    /// Columns as wide as they need; below a row what is to be said of it. Nothing where there are no rows.
    mutating func table(_ header: [String], _ rows: [(cells: [String], notes: [String])]) {
        guard !rows.isEmpty else { return }
        line.raw("\n")
        let widths = header.indices.map { column in
            ([header] + rows.map(\.cells)).map { column < $0.count ? $0[column].count : 0 }.max()
                ?? 0
        }
        for (cells, notes) in [(header, [])] + rows {
            for (column, cell) in cells.dropLast().enumerated() {
                escape(cell)
                line.raw(String(repeating: " ", count: max(0, widths[column] - cell.count) + 2))
            }
            end(cells.last ?? "")
            for note in notes.flatMap({ $0.split(separator: "\n") }) {
                line.raw("    ")
                end(String(note))
            }
        }
    }

    /// `name` and words, over as many lines as they need.
    mutating func wrapped(_ name: String, _ words: [String]) {
        line.raw("\n" + Self.padded(name, Self.factWidth))
        var width = Self.factWidth
        for (index, word) in words.enumerated() {
            if index > 0, width + word.count + 1 > Self.lineWidth {
                line.raw("\n" + String(repeating: " ", count: Self.factWidth))
                width = Self.factWidth
            } else if index > 0 {
                line.raw(" ")
            }
            escape(word)
            width += word.count + 1
        }
        line.raw("\n")
    }

    private mutating func escape(_ text: String) {
        line.escaped(text, bytesMax: Self.textBytesMax, isQuoted: false)
    }

    private mutating func end(_ text: String) {
        escape(text)
        line.raw("\n")
    }

    private static func padded(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }
}
