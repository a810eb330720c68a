/// The versions of the fleet protocol that a program speaks: its own and the one before.
///
/// So two programs a version apart understand each other, whichever is older; docs/formats/fleet.md "Versions".
package struct FleetProtocol: Hashable, Sendable {
    /// Highest version spoken; from 1.
    package let newest: UInt32
    /// Lowest version spoken, inclusive; from 1.
    package let oldest: UInt32

    /// What this build speaks.
    package static let current = FleetProtocol(newest: 1)

    /// A build whose own version is `newest`; 0 is read as 1, the first version there was.
    package init(newest: UInt32) { self.init(newest: newest, oldest: 0) }

    /// The versions that a hello names; `oldest` 0 stands for the one before `newest`.
    package init(newest: UInt32, oldest: UInt32) {
        self.newest = max(1, newest)
        self.oldest = oldest == 0 ? max(1, self.newest - 1) : min(oldest, self.newest)
    }

    /// The highest version that both speak; nil where there is none.
    package func common(with other: FleetProtocol) -> UInt32? {
        let highest = min(newest, other.newest)
        return highest >= max(oldest, other.oldest) ? highest : nil
    }

    /// Whether this build speaks `version`; 0 is read as 1.
    package func speaks(_ version: UInt32) -> Bool { (oldest...newest).contains(max(1, version)) }

    /// `1`, or `1 to 2`.
    package var text: String { oldest == newest ? "\(newest)" : "\(oldest) to \(newest)" }
}
