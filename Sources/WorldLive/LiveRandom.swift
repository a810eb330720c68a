import Glibc
package import World

/// The kernel's random bits (`getrandom`); blocks only before the pool is first filled, at boot.
package struct LiveRandom: RandomSource {
    package init() {}

    package func next() -> UInt64 {
        bytes(count: 8).reduce(0) { $0 << 8 | UInt64($1) }
    }

    package func bytes(count: Int) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: max(0, count)) { buffer, filled in
            while filled < count, let start = buffer.baseAddress {
                let got = getrandom(start + filled, count - filled, 0)
                precondition(got > 0 || errno == EINTR, "the kernel has no getrandom")
                filled += max(0, got)
            }
        }
    }
}
