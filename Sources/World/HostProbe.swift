/// How an attempt to connect went.
package enum ConnectOutcome: Hashable, Sendable {
    case connected
    /// Something answered that nobody listens there.
    case refused
    /// Nothing answered within the time.
    case silent
    /// The name has no address; the resolver's text.
    case unknownName(String)
    /// The system's errno.
    case failed(errno: Int32)

    /// How much it says of the other end; the more, the higher.
    private var weight: Int {
        switch self {
        case .connected: 4
        case .refused: 3
        case .silent: 2
        case .failed: 1
        case .unknownName: 0
        }
    }

    /// Tries addresses in order until one connects, each for its share of what is left of `milliseconds`; otherwise what
    /// says most of the other end, the earlier of equals. `attempt` is given the address' index, 0..<`count`, and its time.
    package static func best(
        ofAddresses count: Int, milliseconds: Int, clock: any WorldClock,
        attempt: (_ index: Int, _ milliseconds: Int) -> ConnectOutcome
    ) -> ConnectOutcome {
        precondition(count > 0, "a name that was resolved has an address")
        let end = clock.monotonicNanoseconds + Int64(milliseconds) * 1_000_000
        var best: ConnectOutcome?
        for index in 0..<count {
            let left = Int((end - clock.monotonicNanoseconds) / 1_000_000)
            guard left > 0 else { break }
            let outcome = attempt(index, max(1, left / (count - index)))
            if outcome == .connected { return outcome }
            if outcome.weight > best?.weight ?? -1 { best = outcome }
        }
        return best ?? .silent
    }
}

/// A TCP socket that listens on this machine.
package struct Listener: Hashable, Sendable {
    /// As text; `0.0.0.0` and `::` listen on all.
    package var address: String
    package var port: Int
    /// Name of the program, at most 15 characters; nil where this user may not see it.
    package var program: String?

    package init(address: String, port: Int, program: String?) {
        self.address = address
        self.port = port
        self.program = program
    }
}

/// What the kernel says of its clock.
package struct ClockSynchronisation: Hashable, Sendable {
    /// Whether a time service keeps the clock.
    package var isSynchronised: Bool
    /// The kernel's bound of the error, microseconds.
    package var errorMaxMicroseconds: Int64

    package init(isSynchronised: Bool, errorMaxMicroseconds: Int64) {
        self.isSynchronised = isSynchronised
        self.errorMaxMicroseconds = errorMaxMicroseconds
    }
}

/// Questions that a check-up puts to the machine. Calls block, `connect` for its time and the resolver's.
package protocol HostProbe: Sendable {
    /// Tries every address of `host` in the resolver's order within `milliseconds` in all, and hangs up at once. The
    /// resolver's own time, which nobody bounds here, comes on top.
    func connect(host: String, port: Int, milliseconds: Int) -> ConnectOutcome
    /// Every listening TCP socket on `port`.
    func listeners(port: Int) -> [Listener]
    /// Nil where the kernel does not say.
    func clockSynchronisation() -> ClockSynchronisation?
    /// Numbers of all groups of an account, its own included.
    func groups(of account: UserAccount) -> [UInt32]
}
