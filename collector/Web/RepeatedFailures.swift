import Synchronization

/// Which failures were logged a moment ago: clients that try again and again while the store is away, or its disk is full,
/// must not fill the log with one line each.
final class RepeatedFailures: Sendable {
    static let quietNanoseconds: Int64 = 30_000_000_000
    /// Different failures that are known at a time; more are logged each.
    static let keyMax = 64

    struct Key: Hashable {
        var path: [String]
        var error: [UInt8]
    }

    private struct Told {
        var at: Int64
        var unsaid: Int
    }

    private let told = Mutex<[Key: Told]>([:])

    /// How often the failure came since it was logged last, where it is to be logged at `now` (monotonic); nil where it was
    /// logged less than `quietNanoseconds` ago.
    func unsaid(_ key: Key, at now: Int64) -> Int? {
        told.withLock { told in
            if let last = told[key], now - last.at < Self.quietNanoseconds {
                told[key]?.unsaid += 1
                return nil
            }
            let unsaid = told[key]?.unsaid ?? 0
            if told.count >= Self.keyMax {
                told = told.filter { now - $0.value.at < Self.quietNanoseconds }
            }
            if told.count < Self.keyMax || told[key] != nil {
                told[key] = Told(at: now, unsaid: 0)
            }
            return unsaid
        }
    }
}
