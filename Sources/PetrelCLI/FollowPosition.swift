/// What of a followed query has been shown, so that after a lost connection nothing is missing and nothing comes twice.
///
/// The newest line's time and the lines of the minute before it are remembered. A new connection is asked for everything
/// from there on, and what was shown is left out, each line as often as it was shown.
struct FollowPosition {
    /// How far before the newest line a new connection begins: lines of several hosts come in no exact order.
    static let overlapNanoseconds: Int64 = 60_000_000_000
    /// Lines that are remembered; of more the oldest are forgotten.
    static let rememberedMax = 100_000

    /// Of the newest line shown; at first the time at which following begins.
    private(set) var newest: Int64
    private var shown: [(timestamp: Int64, hash: Int)] = []
    private var oldest = 0
    /// Lines that a new connection gives again.
    private var expected: [Int: Int] = [:]

    init(beginning: Int64) { newest = beginning }

    /// From where a new connection is to give lines: what is older than the oldest line shown was left out on purpose.
    var start: Int64 {
        let start = newest - Self.overlapNanoseconds
        return oldest < shown.count ? max(start, shown[oldest].timestamp) : start
    }

    /// Lines come anew from `start` on.
    mutating func restart() {
        expected = [:]
        for line in shown[oldest...] { expected[line.hash, default: 0] += 1 }
    }

    /// Whether the line is to be shown; it then counts as shown.
    mutating func take(_ line: LogLine) -> Bool {
        let hash = line.hashValue
        if let count = expected[hash] {
            expected[hash] = count > 1 ? count - 1 : nil
            return false
        }
        newest = max(newest, line.timestamp)
        shown.append((line.timestamp, hash))
        forget()
        return true
    }

    private mutating func forget() {
        while oldest < shown.count,
            shown.count - oldest > Self.rememberedMax
                || shown[oldest].timestamp < newest - Self.overlapNanoseconds
        {
            oldest += 1
        }
        guard oldest > shown.count / 2 else { return }
        shown.removeFirst(oldest)
        oldest = 0
    }
}
