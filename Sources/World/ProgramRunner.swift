/// One run of another program. No shell is involved.
package struct ProgramRun: Hashable, Sendable {
    /// `arguments[0]` is the program's absolute path.
    package var arguments: [String]
    /// Added to a minimal environment (PATH, LC_ALL=C.UTF-8, TZ=UTC); the caller's own is not inherited.
    package var environment: [String: String]
    /// Written to its standard input, which is then closed.
    package var input: [UInt8]
    /// After this many seconds the program and what it started are killed.
    package var deadlineSeconds: Int

    package init(
        _ arguments: [String], environment: [String: String] = [:], input: [UInt8] = [],
        deadlineSeconds: Int = 30
    ) {
        precondition(arguments.first?.hasPrefix("/") == true, "a program has an absolute path")
        self.arguments = arguments
        self.environment = environment
        self.input = input
        self.deadlineSeconds = deadlineSeconds
    }

    /// Bytes kept of each output; what follows is read and dropped.
    package static let outputBytesMax = 256 * 1024
}

/// How a program ended and what it printed.
package struct ProgramOutcome: Hashable, Sendable {
    /// Exit status; 128 + signal where it was killed.
    package var status: Int32
    /// Standard output, at most `ProgramRun.outputBytesMax` bytes; invalid UTF-8 is replaced.
    package var output: String
    /// Standard error, bounded likewise.
    package var errors: String

    package init(status: Int32, output: String = "", errors: String = "") {
        self.status = status
        self.output = output
        self.errors = errors
    }
}

/// Why a program has no outcome.
package enum ProgramError: Error, Hashable, Sendable, CustomStringConvertible {
    case cannotStart(program: String, errno: Int32)
    case timedOut(program: String, seconds: Int)

    package var description: String {
        switch self {
        case .cannotStart(let program, let errno): "cannot start \(program): errno \(errno)"
        case .timedOut(let program, let seconds):
            "\(program) did not end within \(seconds) s and was killed"
        }
    }
}

/// Other programs of this machine. Calls block until the program ends or its deadline passes.
package protocol ProgramRunner: Sendable {
    func run(_ run: ProgramRun) throws(ProgramError) -> ProgramOutcome
    /// The absolute path of an executable of that name in the system's folders; nil where none is installed.
    func locate(_ name: String) -> String?
}

/// A short HTTP answer of a service on this machine.
package struct LocalAnswer: Hashable, Sendable {
    package var status: Int
    /// At most `LocalServices.bodyBytesMax` bytes.
    package var body: String

    package init(status: Int, body: String) {
        self.status = status
        self.body = body
    }
}

/// Services of this machine, asked over loopback. Calls block, as long as the implementation says.
package protocol LocalServices: Sendable {
    /// `GET path` on `address` (127.0.0.1 or ::1) and `port`; nil where nobody answers or the answer is no HTTP.
    func get(address: String, port: Int, path: String) -> LocalAnswer?
}

extension LocalServices {
    /// Bytes kept of an answer's body.
    package static var bodyBytesMax: Int { 1 << 20 }
}
