import Crypto
import Model
import OTLP
import Storage
import World

/// What pushed lines go through, whichever way they come in: Loki's checks, `service_name`, levels and ids, one commit.
///
/// Source: Loki 3.6 `distributor`, with its default limits.
struct LogIntake: Sendable {
    /// Decompressed bytes of all requests under way, with what is made of them.
    private static let requestsBytesMax = 96 << 20
    /// Longest body as it is sent.
    static let bodyBytesMax = 16 << 20
    /// Longest body, decompressed.
    static let requestBytesMax = 32 << 20
    /// Labels of a stream beside `service_name`.
    static let labelsMax = 15
    static let labelNameBytesMax = 1_024
    static let labelValueBytesMax = 2_048
    static let metadataMax = 128
    /// Of names and values of a line's fields.
    static let metadataBytesMax = 64 << 10
    /// How far a line's time may be ahead of the clock: 10 minutes.
    static let aheadNanosecondsMax: Int64 = 600 * 1_000_000_000
    /// Streams of Loki's own, which are taken as they are.
    private static let internalLabels = ["__aggregated_metric__", "__pattern__"]
    private static let serviceName = "service_name"
    private static let levelField = "detected_level"
    private static let severityField = "severity_number"

    /// Takes the bytes of a request before it is read.
    let budget = ByteBudget(bytesMax: requestsBytesMax)
    let metrics = LogIntakeMetrics()
    let configuration: LogPushConfiguration
    let clock: any WorldClock
    private let writer: any LogWriter

    init(
        writer: any LogWriter, configuration: LogPushConfiguration, clock: any WorldClock
    ) {
        self.writer = writer
        self.configuration = configuration
        self.clock = clock
    }

    /// Stores what can be stored, in one commit. `request` is where `streams` came from: the same body for the same shard
    /// again within a day changes nothing, unless `isTimedHere`, when its lines have their time from the clock. Throws 429
    /// where there are too many streams, and what the storage says.
    func store(
        _ streams: [LogStream], of request: WebRequest, isTimedHere: Bool = false
    ) async throws(IngestRefusal) -> LogIntakeReport {
        var report = LogIntakeReport()
        let now = clock.now
        let checked = checked(streams, now, &report)
        if !checked.isEmpty {
            var digest = SHA256()
            request.body.withUnsafeBytes { digest.update(bufferPointer: $0) }
            // The labels of the streams have it too.
            Array(LokiBackfill.shard(request).utf8).withUnsafeBytes {
                digest.update(bufferPointer: $0)
            }
            if isTimedHere {
                withUnsafeBytes(of: now.rawValue) { digest.update(bufferPointer: $0) }
            }
            let push = LogPush(streams: checked, digest: Array(digest.finalize()))
            do throws(StorageError) {
                switch try await writer.storeLogs(push) {
                case .stored(let entryCount, let tooOldCount):
                    report.storedCount = entryCount
                    report.refuse(
                        tooOldCount, .tooOld, defects: tooOldCount,
                        "entry has timestamp too old: it is older than the retention of logs")
                case .repeated: report.isRepeat = true
                }
            } catch { throw Self.refusal(error) }
        }
        metrics.stored(report)
        return report
    }

    private static func refusal(_ error: StorageError) -> IngestRefusal {
        guard case .limitExceeded(let limit, let maximum) = error else {
            return IngestRefusal(error)
        }
        return IngestRefusal(
            429,
            "maximum active stream limit exceeded when trying to create stream: \(limit) is "
                + "\(maximum), reduce the number of active streams (reduce labels or reduce label "
                + "values)", retryAfter: 30)
    }

    // MARK: Streams

    /// What can be stored, no two streams with the same labels.
    private func checked(
        _ streams: [LogStream], _ now: TimestampNS, _ report: inout LogIntakeReport
    ) -> [LogStream] {
        var result: [LogStream] = []
        var indexes: [Labels: Int] = [:]
        for stream in streams where !stream.entries.isEmpty {
            let labels = named(stream.labels)
            if let defect = Self.defect(labels) {
                report.refuse(stream.entries.count, defect.reason, defect.text)
                continue
            }
            let target = Target(labels: labels, levelWord: Self.levelWord(labels), now: now)
            let entries = stream.entries.compactMap { Self.completed($0, target, &report) }
            guard !entries.isEmpty else { continue }
            if let known = indexes[labels] {
                result[known].entries += entries
            } else {
                indexes[labels] = result.count
                result.append(LogStream(labels: labels, entries: entries))
            }
        }
        return result
    }

    /// `labels` with `service_name`.
    private func named(_ labels: Labels) -> Labels {
        guard labels[Self.serviceName].isEmpty, !configuration.serviceNameLabels.isEmpty,
            !Self.isInternal(labels)
        else { return labels }
        let name = configuration.serviceNameLabels.lazy.map { labels[$0] }.first { !$0.isEmpty }
        return labels.setting(Self.serviceName, name ?? "unknown_service")
    }

    private static func isInternal(_ labels: Labels) -> Bool {
        internalLabels.contains { !labels[$0].isEmpty }
    }

    private typealias Defect = (reason: LogIntakeReport.Reason, text: String)

    private static func defect(_ labels: Labels) -> Defect? {
        guard !labels.isEmpty else {
            return (.missingLabels, "error at least one label pair is required per stream")
        }
        // PostgreSQL has no text with it.
        if labels.contains(where: { $0.name.utf8.contains(0) || $0.value.utf8.contains(0) }) {
            return (
                .invalidLabels,
                "stream '\(LokiLabels.shownText(labels))' has a NUL in a label"
            )
        }
        guard !isInternal(labels) else { return nil }
        let count = labels.count - (labels[serviceName].isEmpty ? 0 : 1)
        guard count <= labelsMax else {
            return (
                .tooManyLabels,
                "entry for stream '\(LokiLabels.shownText(labels))' has \(count) label names; "
                    + "limit \(labelsMax)"
            )
        }
        for label in labels {
            if label.name.utf8.count > labelNameBytesMax {
                return (
                    .labelNameTooLong,
                    "stream '\(LokiLabels.shownText(labels))' has label name too long: "
                        + "'\(LokiLabels.shown(label.name))'"
                )
            }
            if label.value.utf8.count > labelValueBytesMax {
                return (
                    .labelValueTooLong,
                    "stream '\(LokiLabels.shownText(labels))' has label value too long: "
                        + "'\(LokiLabels.shown(label.value))'"
                )
            }
        }
        return nil
    }

    // MARK: Entries

    /// What is known of all entries of a stream.
    private struct Target {
        var labels: Labels
        /// What the labels say.
        var levelWord: String?
        var now: TimestampNS
    }

    /// The entry with its level and ids, its fields under their names; nil where it can't be stored.
    private static func completed(
        _ entry: LogEntry, _ target: Target, _ report: inout LogIntakeReport
    ) -> LogEntry? {
        let metadataBytes = entry.metadata.reduce(0) {
            $0 + $1.name.utf8.count + $1.value.utf8.count
        }
        func stream() -> String { LokiLabels.shownText(target.labels) }
        if entry.timestamp > target.now.advanced(byNanoseconds: aheadNanosecondsMax) {
            let seconds = entry.timestamp.milliseconds.rawValue / 1000
            report.refuse(
                1, .tooFarInFuture,
                "entry for stream '\(stream())' has timestamp too new: "
                    + RFC3339.text(TimestampMS(seconds * 1000)))
            return nil
        }
        guard entry.line.count <= LogEntry.lineBytesMax else {
            report.refuse(
                1, .lineTooLong,
                "max entry size '\(LogEntry.lineBytesMax)' bytes exceeded for stream '\(stream())' "
                    + "while adding an entry with length '\(entry.line.count)' bytes")
            return nil
        }
        guard metadataBytes <= metadataBytesMax else {
            report.refuse(
                1, .metadataTooLarge,
                "stream '\(stream())' has structured metadata too large: '\(metadataBytes)' bytes, "
                    + "limit: '\(metadataBytesMax)' bytes. Send less beside the line, or more "
                    + "in it")
            return nil
        }
        guard entry.metadata.count <= metadataMax else {
            report.refuse(
                1, .metadataTooMany,
                "stream '\(stream())' has too many structured metadata labels: "
                    + "'\(entry.metadata.count)', limit: '\(metadataMax)'. Send fewer beside "
                    + "the line, or more in it")
            return nil
        }
        var completed = entry
        do throws(FieldNameDefect) { completed.metadata = try fields(entry.metadata) } catch {
            report.refuse(
                1, .metadataName,
                "stream '\(stream())' has structured metadata of which no name is left: "
                    + "'\(LokiLabels.shown(error.name))'")
            return nil
        }
        refine(&completed, target.levelWord)
        report.byteCount += entry.line.count + metadataBytes
        return completed
    }

    private struct FieldNameDefect: Error { var name: String }

    /// Fields under names that LogQL can say, and without NULs, which PostgreSQL's texts can't have.
    private static func fields(_ metadata: Labels) throws(FieldNameDefect) -> Labels {
        func isKept(_ field: Label) -> Bool {
            LogFieldName.isPlain(field.name) && !field.value.utf8.contains(0)
        }
        guard !metadata.allSatisfy(isKept) else { return metadata }
        var fields: [Label] = []
        fields.reserveCapacity(metadata.count)
        for field in metadata {
            guard let name = LogFieldName.normalized(field.name) else {
                throw FieldNameDefect(name: field.name)
            }
            var value = field.value
            if value.utf8.contains(0) {
                value = String(
                    String.UnicodeScalarView(
                        value.unicodeScalars.map { $0 == "\0" ? "\u{fffd}" : $0 }))
            }
            fields.append(Label(name, value))
        }
        return Labels(fields)
    }

    /// Sets the level, and ids that are known under other names or by the line alone.
    private static func refine(_ entry: inout LogEntry, _ streamWord: String?) {
        var read = LineFields(entry.line)
        if let word = statedLevel(entry.metadata) ?? streamWord ?? levelWord(entry.metadata) {
            entry.level = LogLevels.level(word)
            // A word that is no level here is a field; `unknown` says that there is none.
            entry.metadata =
                entry.level != nil || word == "unknown"
                ? entry.metadata.dropping([levelField])
                : entry.metadata.setting(levelField, word)
        } else {
            entry.level =
                entry.metadata[severityField].isEmpty
                ? read.level ?? LogLevels.level(inWordsOf: entry.line)
                : severity(entry.metadata)
        }
        for field in entry.metadata {
            switch LogIDNames.id(field.name) {
            case .field(let id) where id != field.name: read.prefer(id, field.value)
            case .traceParent:
                guard let (trace, span) = LogIDNames.traceParent(field.value) else { continue }
                read.prefer("trace_id", trace)
                read.prefer("span_id", span)
            case .field, nil: break
            }
        }
        for id in read.ids where entry.metadata[id.name].isEmpty {
            entry.metadata = entry.metadata.setting(id.name, id.value)
        }
    }

    private static func statedLevel(_ metadata: Labels) -> String? {
        let level = metadata[levelField]
        return level.isEmpty ? nil : level
    }

    /// What the first label or field with a name of levels says, a level or not; then the line is not looked at.
    private static func levelWord(_ labels: Labels) -> String? {
        LogLevels.orderedNames.lazy.map { labels[$0] }.first { !$0.isEmpty }
    }

    /// What is no number counts as information, one that is no level as none; the line is not looked at.
    /// Source: Loki 3.6 `detectLogLevelFromLogEntry`.
    private static func severity(_ metadata: Labels) -> String? {
        guard let number = Int(metadata[severityField]) else { return "info" }
        return LogLevels.level(severityNumber: number)
    }
}
