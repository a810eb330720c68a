package import World

/// Tells the service manager how the program fares; says nothing where none asked. Safe from any thread.
///
/// Source: sd_notify(3), sd_watchdog_enabled(3). The variables are taken out of the environment, so that a child such as
/// the private PostgreSQL does not speak in this program's name.
package struct SystemdNotifier: Sendable {
    /// Longest text of a `STATUS=`, bytes; longer ones are cut.
    static let statusBytesMax = 240
    /// How far each extension reaches, how often one is sent, and how many are sent at most (an hour in all).
    static let extensionSeconds: Int64 = 60
    static let extensionIntervalNanoseconds: Int64 = 20_000_000_000
    static let extensionCountMax = 180

    private let manager: (any ServiceManager)?
    /// Within how long the manager wants a sign of life, nanoseconds; nil where it does not watch this process.
    package let watchdogNanoseconds: Int64?

    /// For tests: a manager of one's own.
    package init(manager: (any ServiceManager)?, watchdogNanoseconds: Int64? = nil) {
        self.manager = manager
        self.watchdogNanoseconds = watchdogNanoseconds
    }

    /// Takes `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` from the environment.
    package init(_ surroundings: any Surroundings) {
        let microseconds = surroundings.takeEnvironment("WATCHDOG_USEC").flatMap { Int64($0) }
        let watched = surroundings.takeEnvironment("WATCHDOG_PID")
        manager = surroundings.takeEnvironment("NOTIFY_SOCKET").flatMap {
            surroundings.serviceManager(at: $0)
        }
        let isForUs = watched == nil || watched == String(surroundings.processID)
        guard manager != nil, isForUs, let microseconds, microseconds > 0,
            microseconds < Int64.max / 1000
        else {
            watchdogNanoseconds = nil
            return
        }
        watchdogNanoseconds = microseconds * 1000
    }

    /// Whether anybody listens.
    package var isHeard: Bool { manager != nil }

    /// Sends assignments such as `READY=1`, one a line.
    package func send(_ lines: [String]) {
        guard !lines.isEmpty else { return }
        manager?.send(lines.joined(separator: "\n"))
    }

    /// `STATUS=` with `text` as one line.
    package static func status(_ text: String) -> String {
        var line = String(
            String.UnicodeScalarView(
                text.unicodeScalars.map {
                    $0.value < 0x20 || $0.value == 0x7f ? " " : $0
                }))
        while line.utf8.count > statusBytesMax { line.removeLast() }
        return "STATUS=" + line
    }

    /// Runs `body`, a part of the start that may take long, and keeps asking for more time while it does.
    package func whileStarting<T>(
        _ status: String, clock: any WorldClock, _ body: () async throws -> T
    ) async throws -> T {
        guard isHeard else { return try await body() }
        let lines = [
            "EXTEND_TIMEOUT_USEC=\(Self.extensionSeconds * 1_000_000)", Self.status(status),
        ]
        send(lines)
        return try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                for _ in 0..<Self.extensionCountMax {
                    do {
                        try await clock.sleep(nanoseconds: Self.extensionIntervalNanoseconds)
                    } catch { return }
                    send(lines)
                }
            }
            defer { group.cancelAll() }
            return try await body()
        }
    }
}
