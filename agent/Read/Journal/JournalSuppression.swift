import Model
import Synchronization

/// What journald says where a unit writes more than RateLimitBurst: how many of its messages were dropped.
struct JournalSuppression: Hashable, Sendable {
    /// SD_MESSAGE_JOURNAL_DROPPED. Source: systemd `sd-messages.h`.
    static let messageID = "a596d6fe7bfa4994828e72309e95d61e"

    /// A gap's source is this and the unit.
    static let sourcePrefix = "\(JournalReader.sourceName) "

    /// As journald names it: a unit, or the last part of a control group's path; empty where it says nothing.
    let unit: String
    /// 0 where it can't be told.
    let count: UInt64

    /// Nil for entries that are no such message, and for those that someone else than journald wrote.
    /// The text is `Suppressed N messages from UNIT`; N_DROPPED, which newer versions add, goes before it.
    /// Source: systemd `journald-server.c`, server_dispatch_message.
    init?(_ record: JournalRecord) {
        guard record.suppression.isSuppression, record.suppression.isOfJournald else { return nil }
        let text = ProcText.string(record.message.prefix(1024))
        let words = text.split(separator: " ")
        let isKnown =
            words.count >= 5 && words[0] == "Suppressed" && words[2] == "messages"
            && words[3] == "from"
        count = record.suppression.droppedCount ?? (isKnown ? UInt64(words[1]) ?? 0 : 0)
        unit = isKnown ? String(words[4].split(separator: "/").last ?? "") : ""
    }

    /// The loss, which ended at `to`: journald says so with the first message that it takes again.
    func gap(to: TimestampNS) -> GapRecord {
        GapRecord(
            reason: .journaldSuppressed, count: count, to: to,
            source: unit.isEmpty ? JournalReader.sourceName : Self.sourcePrefix + unit,
            detail: "journald dropped messages of \(unit.isEmpty ? "a unit" : unit) that came "
                + "faster than its RateLimitBurst; raise it, or LogRateLimitBurst of the unit")
    }
}

/// Messages that journald dropped, by unit. Units past `LogMetricSeries.valuesMax` count as one.
final class JournalSuppressionMetrics: Sendable {
    private let units = Mutex(
        LogMetricSeries(
            name: "petrel_agent_journal_suppressed_total",
            help: "Messages that journald dropped since a unit wrote too many, by unit.",
            kind: .counter, labels: ["unit"]))

    /// Takes the gaps of a chunk; those of other reasons count nothing.
    func observe(_ gaps: [GapRecord]) {
        for gap in gaps where gap.reason == .journaldSuppressed {
            let unit =
                gap.source.hasPrefix(JournalSuppression.sourcePrefix)
                ? String(gap.source.dropFirst(JournalSuppression.sourcePrefix.count)) : ""
            units.withLock { $0.add(Double(gap.count), [JournalStreams.stableUnit(unit)]) }
        }
    }

    func families() -> [MetricFamily] { units.withLock { $0.family() }.map { [$0] } ?? [] }
}
