/// Decides what the service manager is told, and when.
///
/// The watchdog is fed only while every subject makes progress. Time in which this process did not run (a stopped
/// machine, a debugger) does not count against a subject: between two ticks at most two tick lengths are counted.
package struct LivenessStateMachine: Sendable {
    package enum State: Hashable, Sendable {
        /// Becomes ready or stopping.
        case starting
        /// Becomes stopping.
        case ready
        /// The end.
        case stopping
    }

    /// A service and how far it has come.
    package struct Subject: Hashable, Sendable {
        package var name: String
        package var count: UInt64
        package var deadlineNanoseconds: Int64

        package init(name: String, count: UInt64, deadlineNanoseconds: Int64) {
            self.name = name
            self.count = count
            self.deadlineNanoseconds = deadlineNanoseconds
        }
    }

    package enum Action: Hashable, Sendable {
        /// Lines for the service manager, one message.
        case send([String])
        /// This service has made no progress for too long; said once.
        case stalled(name: String, seconds: Int64)
        /// A stalled service goes on.
        case recovered(name: String)
    }

    private struct Track {
        var count: UInt64
        var idleNanoseconds: Int64 = 0
        var isStalled = false
    }

    package private(set) var state = State.starting
    private let configuration: LivenessConfiguration
    private var tracks: [String: Track] = [:]
    private var lastTick: Int64 = 0
    private var lastFeed: Int64 = 0
    /// The newest line; nil before the first.
    private var status: String?
    private var lastStatus: String?
    private var lastStatusAt: Int64 = 0

    package init(_ configuration: LivenessConfiguration) { self.configuration = configuration }

    /// The program does its work now. `now`, as everywhere here: nanoseconds of the monotonic clock.
    package mutating func ready(now: Int64) -> [Action] {
        guard state == .starting else { return [] }
        state = .ready
        (lastTick, lastFeed) = (now, now)
        var lines = ["READY=1"]
        if let status { lines.append(told(status, now: now)) }
        if configuration.watchdogNanoseconds != nil { lines.append("WATCHDOG=1") }
        return [.send(lines)]
    }

    /// How the program fares, in one line. The first is told at once, later ones with a tick.
    package mutating func report(_ line: String, now: Int64) -> [Action] {
        status = line
        guard state == .ready, lastStatus == nil else { return [] }
        return [.send([told(line, now: now)])]
    }

    private mutating func told(_ line: String, now: Int64) -> String {
        (lastStatus, lastStatusAt) = (line, now)
        return SystemdNotifier.status(line)
    }

    /// To be called every `configuration.tickNanoseconds`.
    package mutating func tick(_ subjects: [Subject], now: Int64) -> [Action] {
        guard state == .ready else { return [] }
        let gap = min(max(0, now - lastTick), 2 * configuration.tickNanoseconds)
        lastTick = now
        var actions: [Action] = []
        var stalled: [String] = []
        for subject in subjects {
            var track = tracks[subject.name] ?? Track(count: subject.count)
            if track.count != subject.count {
                if track.isStalled { actions.append(.recovered(name: subject.name)) }
                track = Track(count: subject.count)
            } else {
                track.idleNanoseconds += gap
            }
            if track.idleNanoseconds > subject.deadlineNanoseconds {
                if !track.isStalled {
                    actions.append(
                        .stalled(
                            name: subject.name, seconds: track.idleNanoseconds / 1_000_000_000))
                }
                track.isStalled = true
                stalled.append(subject.name)
            }
            tracks[subject.name] = track
        }
        let said =
            stalled.isEmpty ? status : "no progress of \(stalled.joined(separator: ", "))"
        var lines: [String] = []
        if let watchdog = configuration.watchdogNanoseconds, stalled.isEmpty,
            now - lastFeed + configuration.tickNanoseconds > watchdog / 2
        {
            lastFeed = now
            lines.append("WATCHDOG=1")
        }
        if let said, said != lastStatus, now - lastStatusAt >= configuration.statusNanoseconds {
            lines.append(told(said, now: now))
        }
        if !lines.isEmpty { actions.append(.send(lines)) }
        return actions
    }

    /// The program was told to stop.
    package mutating func stop() -> [Action] {
        guard state != .stopping else { return [] }
        state = .stopping
        return [.send(["STOPPING=1", SystemdNotifier.status("stopping")])]
    }
}

/// How often the service manager hears from the program.
package struct LivenessConfiguration: Hashable, Sendable {
    /// Within how long the manager wants a sign of life; nil where it does not watch.
    package var watchdogNanoseconds: Int64?
    /// Shortest time between two changes of the status.
    package var statusNanoseconds: Int64

    package init(watchdogNanoseconds: Int64?, statusNanoseconds: Int64 = 15_000_000_000) {
        self.watchdogNanoseconds = watchdogNanoseconds
        self.statusNanoseconds = statusNanoseconds
    }

    /// 5 s, or half of what the watchdog allows where that is less.
    package var tickNanoseconds: Int64 {
        min(5_000_000_000, max(1_000_000, (watchdogNanoseconds ?? .max) / 2))
    }
}
