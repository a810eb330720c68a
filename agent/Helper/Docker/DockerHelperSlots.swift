import NIOCore
import Synchronization

/// What the helper's connections are doing, and how many may do it at once.
final class DockerHelperSlots: Sendable {
    enum Use: Sendable {
        /// Connected; may become `exchange` or `events`.
        case waiting
        /// One request and its answer, held in memory.
        case exchange
        /// A stream of events without an end of its own.
        case events
    }

    private struct State {
        var isStopping = false
        var open: [ObjectIdentifier: (channel: any Channel, use: Use)] = [:]

        func count(_ use: Use) -> Int { open.values.count { $0.use == use } }
    }

    private let connectionsMax: Int
    private let exchangesMax: Int
    private let eventStreamsMax: Int
    private let state = Mutex(State())

    init(connectionsMax: Int, exchangesMax: Int, eventStreamsMax: Int) {
        self.connectionsMax = connectionsMax
        self.exchangesMax = exchangesMax
        self.eventStreamsMax = eventStreamsMax
    }

    /// False where all connections are taken, or the helper stops.
    func insert(_ channel: any Channel) -> Bool {
        state.withLock { state in
            guard state.open.count < connectionsMax, !state.isStopping else { return false }
            state.open[ObjectIdentifier(channel)] = (channel, .waiting)
            return true
        }
    }

    /// False where as many do the same already.
    func begin(_ use: Use, _ channel: any Channel) -> Bool {
        state.withLock { state in
            let isFree =
                switch use {
                case .waiting: true
                case .exchange: state.count(.exchange) < exchangesMax
                case .events: state.count(.events) < eventStreamsMax
                }
            guard isFree, !state.isStopping else { return false }
            state.open[ObjectIdentifier(channel)]?.use = use
            return true
        }
    }

    func remove(_ channel: any Channel) {
        state.withLock { $0.open[ObjectIdentifier(channel)] = nil }
    }

    /// Accepts nothing from now on, and closes what has no end of its own.
    func stop() {
        let endless = state.withLock { state in
            state.isStopping = true
            return state.open.values.filter { $0.use != .exchange }.map(\.channel)
        }
        for channel in endless { channel.close(promise: nil) }
    }

    /// Closes what is still open.
    func cut() {
        for (channel, _) in state.withLock({ Array($0.open.values) }) {
            channel.close(promise: nil)
        }
    }
}

/// Bytes that all exchanges together may hold of Docker's answers.
final class ByteBudget: Sendable {
    private let bytesMax: Int
    private let held = Mutex(0)

    init(bytesMax: Int) { self.bytesMax = bytesMax }

    /// False where that many are not left.
    func take(_ count: Int) -> Bool {
        held.withLock { held in
            guard count <= bytesMax - held else { return false }
            held += count
            return true
        }
    }

    func giveBack(_ count: Int) { held.withLock { $0 -= count } }
}
