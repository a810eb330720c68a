import World

/// The kernel's random bits (`getrandom`); blocks only before the pool is first filled, at boot.
package struct LiveRandom: RandomSource {
    package init() {}

    package func next() -> UInt64 {
        var generator = SystemRandomNumberGenerator()
        return generator.next()
    }

    package func bytes(count: Int) -> [UInt8] {
        var generator = SystemRandomNumberGenerator()
        return (0..<max(0, count)).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
    }
}
