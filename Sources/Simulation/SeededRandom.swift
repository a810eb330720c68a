import Synchronization
import World

/// Random bits from a seed, the same in every process (SplitMix64).
///
/// Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.
package final class SeededRandom: RandomSource {
    private let state: Mutex<UInt64>

    package init(seed: UInt64) { state = Mutex(seed) }

    package func next() -> UInt64 {
        state.withLock { state in
            state &+= 0x9e37_79b9_7f4a_7c15
            var bits = state
            bits = (bits ^ (bits &>> 30)) &* 0xbf58_476d_1ce4_e5b9
            bits = (bits ^ (bits &>> 27)) &* 0x94d0_49bb_1331_11eb
            return bits ^ (bits &>> 31)
        }
    }

    package func bytes(count: Int) -> [UInt8] {
        (0..<max(0, count)).map { _ in UInt8(truncatingIfNeeded: next()) }
    }

    /// A number of `0..<bound`; `bound` is positive.
    package func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }
}
