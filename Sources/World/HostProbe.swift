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

/// Questions that a check-up puts to the machine. Calls block, `connect` for its time at most.
package protocol HostProbe: Sendable {
    /// Tries every address of `host` in the resolver's order within `milliseconds` in all, and hangs up at once.
    func connect(host: String, port: Int, milliseconds: Int) -> ConnectOutcome
    /// Every listening TCP socket on `port`.
    func listeners(port: Int) -> [Listener]
    /// Nil where the kernel does not say.
    func clockSynchronisation() -> ClockSynchronisation?
    /// Numbers of all groups of an account, its own included.
    func groups(of account: UserAccount) -> [UInt32]
}
