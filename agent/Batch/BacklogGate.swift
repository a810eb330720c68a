package import Storage

/// Decides whether a log source that is far behind reads on while the spool waits for the collector.
///
/// The spool is first in, first out: what a source with a long backlog puts there delays the lines of all others. So such
/// a source leaves its backlog where it is, in its file, while the spool holds more than the collector takes in a few
/// seconds. A collector that takes nothing stops nobody: files may be removed before it is back, and the spool has room.
package struct BacklogGate: Sendable {
    /// Records in the spool up to which nobody waits.
    static let recordsFree: UInt64 = 20_000
    /// What the collector takes in this time may be in the spool. Nanoseconds.
    static let aheadNanoseconds: Int64 = 3_000_000_000
    /// Over which the collector's pace is measured, and after which one that takes nothing counts as away. Nanoseconds.
    static let paceNanoseconds: Int64 = 2_000_000_000

    private var since: Int64 = .min
    private var acknowledgedThen: UInt64 = 0
    /// Records that the collector took in a second; nil before the first measure.
    private var pace: Double?

    package init() {}

    /// Whether a source that is far behind waits at `now`, monotonic nanoseconds.
    package mutating func holds(_ spool: SpoolStatus, now: Int64) -> Bool {
        let left = spool.spoolRecords + spool.gapRecords
        let acknowledged = spool.producedRecords > left ? spool.producedRecords - left : 0
        if since == .min || acknowledged < acknowledgedThen {
            (since, acknowledgedThen) = (now, acknowledged)
        } else if now - since >= Self.paceNanoseconds {
            pace = Double(acknowledged - acknowledgedThen) * 1e9 / Double(now - since)
            (since, acknowledgedThen) = (now, acknowledged)
        }
        guard let pace, pace > 0, spool.spoolRecords > Self.recordsFree else { return false }
        return Double(spool.spoolRecords) > pace * Double(Self.aheadNanoseconds) / 1e9
    }
}
