import Model
import World

/// Follows a log query over connections that may break.
struct LogFollower {
    private static let firstPauseNanoseconds: Int64 = 1_000_000_000
    private static let pauseNanosecondsMax: Int64 = 10_000_000_000
    /// How far ahead of the clock lines may be.
    private static let aheadNanoseconds: Int64 = 3600 * 1_000_000_000

    private let query: LogQueryClient
    private let clock: any WorldClock
    private let begin: Int64
    private let limit: Int
    private var position: FollowPosition
    private var isConnected = false

    /// First the newest `limit` lines since `begin`, in nanoseconds since the epoch.
    init(query: LogQueryClient, clock: any WorldClock, begin: Int64, limit: Int) {
        self.query = query
        self.clock = clock
        self.begin = begin
        self.limit = limit
        position = FollowPosition(beginning: clock.now.rawValue)
    }

    /// Hands every line to `show`, once, until an error that another try does not mend.
    mutating func run(_ show: (LogLine) async throws -> Void) async throws {
        var pause = Self.firstPauseNanoseconds
        var wasConnected = false
        while true {
            isConnected = false
            do {
                if wasConnected { try await catchUp(show) }
                try await follow(wasConnected, show)
            } catch let lost as ConnectionLost {
                // Without a first connection there is nothing to hold on to.
                guard isConnected || wasConnected else { throw CommandFailure(lost.text) }
                wasConnected = true
                if isConnected { pause = Self.firstPauseNanoseconds }
                Terminal.printError(
                    "petrel: \(Terminal.escaped(lost.text)); trying again in "
                        + "\(pause / 1_000_000_000) s")
                try await clock.sleep(nanoseconds: pause)
                pause = min(pause * 2, Self.pauseNanosecondsMax)
            }
        }
    }

    /// Lines that came while there was no connection, in as many answers as they need.
    private mutating func catchUp(_ show: (LogLine) async throws -> Void) async throws {
        var start = position.start
        while true {
            let end = clock.now.rawValue + Self.aheadNanoseconds
            position.restart()
            let lines: [LogLine]
            do {
                lines = try await query.lines(
                    start, end, limit: LogsCommand.linesMax, isBackward: false)
            } catch let failure as CommandFailure { throw ConnectionLost(text: failure.message) }
            for line in lines where position.take(line) { try await show(line) }
            guard lines.count == LogsCommand.linesMax, let last = lines.last else { return }
            // More lines of one nanosecond than an answer holds can't be told apart by their time.
            start = last.timestamp > start ? last.timestamp : start + 1
        }
    }

    private mutating func follow(
        _ isAgain: Bool, _ show: (LogLine) async throws -> Void
    ) async throws {
        position.restart()
        var parameters = [("query", query.selector)]
        parameters += [
            ("start", "\(isAgain ? position.start : begin)"),
            ("limit", "\(isAgain ? LogsCommand.linesMax : limit)"),
        ]
        var events = EventStream()
        var (position, isConnected) = (position, false)
        defer { (self.position, self.isConnected) = (position, isConnected) }
        try await query.client.stream("/api/v1/logs/follow", parameters) { bytes in
            isConnected = true
            for event in try events.feed(bytes) {
                switch try FollowEvent(event, client: query.client) {
                case .line(let line): if position.take(line) { try await show(line) }
                case .dropped(let count):
                    Terminal.printError(
                        "petrel: \(count) lines came faster than they could be shown")
                case .failed(let text): throw CommandFailure(text)
                case .other: break
                }
            }
        }
    }
}
