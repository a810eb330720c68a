import Model
import Synchronization

/// What a reader has read, kept while it is fresh: for sources that change seldom and cost more than a file to read.
final class HeldReading: Sendable {
    /// Between two readings of the source.
    static let ageMaxNanoseconds: Int64 = 60_000_000_000

    /// Problems of a reading that are kept, the first.
    static let problemsMax = 20

    private struct State {
        var families: [MetricFamily] = []
        var problems: [String] = []
        var readAt: TimestampNS?
    }
    private let state = Mutex(State())

    /// Why the last reading of the source was not whole.
    var problems: [String] { state.withLock { $0.problems } }

    /// The families of the last reading where it is younger than a minute, else those of `body`, which is called
    /// outside of any lock; a reading that fails is not kept. A clock that was set back makes a reading old.
    func families<Failure: Error>(
        now: TimestampNS,
        _ body: () throws(Failure) -> (families: [MetricFamily], problems: [String])
    ) throws(Failure) -> [MetricFamily] {
        let fresh = state.withLock { state -> [MetricFamily]? in
            guard let readAt = state.readAt, readAt <= now,
                now < readAt.advanced(byNanoseconds: Self.ageMaxNanoseconds)
            else { return nil }
            return state.families
        }
        if let fresh { return fresh }
        let (families, problems) = try body()
        let kept = Array(problems.prefix(Self.problemsMax))
        state.withLock { $0 = State(families: families, problems: kept, readAt: now) }
        return families
    }
}
