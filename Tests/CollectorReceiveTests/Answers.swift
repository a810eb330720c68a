import Synchronization
import Wire

/// Answers of a call, and a gate that opens when it is over.
final class Answers: Sendable {
    private let list = Mutex<[Petrel_Fleet_V1_CollectorMessage]>([])
    private let ended = Gate()

    var all: [Petrel_Fleet_V1_CollectorMessage] { list.withLock { $0 } }

    /// Adds an answer and returns how many there are.
    func add(_ message: Petrel_Fleet_V1_CollectorMessage) -> Int {
        list.withLock { list in
            list.append(message)
            return list.count
        }
    }

    func end() { ended.open() }

    func waitForEnd() async { await ended.wait() }
}

/// Holds one waiter up until it is opened, or the waiter cancelled.
final class Gate: Sendable {
    private let opened: AsyncStream<Void>
    private let opening: AsyncStream<Void>.Continuation

    init() { (opened, opening) = AsyncStream.makeStream() }

    func open() { opening.finish() }

    func wait() async { for await _ in opened {} }
}
