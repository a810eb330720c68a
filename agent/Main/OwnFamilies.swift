import AgentRead
import AgentScrape
import AgentSpool
import AgentStream
import Model
import Storage

/// What the agent says of itself: both in `/metrics` and in the stream.
struct OwnFamilies: Sendable {
    let spools: [Spool]
    let streams: StreamMetrics
    let logs: LogService
    let refinement: LogRefinement
    let targets: ScrapeFigures
    let reload: ReloadOutcome

    func families() -> [MetricFamily] {
        let states = spools.map { ($0.kind.name, $0.status(), $0.isDegraded) }
        func family(
            _ name: String, _ type: MetricType, _ help: String,
            _ value: (SpoolStatusFigures) -> Double
        ) -> MetricFamily {
            MetricFamily(
                name, type, help: help,
                points: states.map { name, status, degraded in
                    MetricFamily.Point(
                        ["stream": name],
                        value(
                            SpoolStatusFigures(
                                produced: status.producedRecords, gap: status.gapRecords,
                                held: status.spoolRecords, bytes: status.spoolBytes,
                                isDegraded: degraded)))
                })
        }
        return streams.families() + logs.families() + refinement.families() + targets.families()
            + reload.families() + [
                family(
                    "petrel_agent_records_produced_total", .counter,
                    "Samples or log entries that entered the spool.", { Double($0.produced) }),
                family(
                    "petrel_agent_gap_records_total", .counter,
                    "Records lost and accounted for by a gap record.", { Double($0.gap) }),
                family(
                    "petrel_agent_spool_records", .gauge,
                    "Records spooled and not yet acknowledged.", { Double($0.held) }),
                family(
                    "petrel_agent_spool_bytes", .gauge, "Bytes of the spool on disk.",
                    { Double($0.bytes) }),
                family(
                    "petrel_agent_spool_degraded", .gauge,
                    "1 while the disk refuses and what is read is held in memory.",
                    { $0.isDegraded ? 1 : 0 }),
            ]
    }

    private struct SpoolStatusFigures {
        var produced: UInt64
        var gap: UInt64
        var held: UInt64
        var bytes: UInt64
        var isDegraded: Bool
    }
}
