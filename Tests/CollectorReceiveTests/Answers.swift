import Synchronization
import Wire

/// Answers of a call, and a gate that opens when it is over.
final class Answers: Sendable {
    private let list = Mutex<[Petrel_Fleet_V1_CollectorMessage]>([])
    private let ended: AsyncStream<Void>
    private let ending: AsyncStream<Void>.Continuation

    init() { (ended, ending) = AsyncStream.makeStream() }

    var all: [Petrel_Fleet_V1_CollectorMessage] { list.withLock { $0 } }

    /// Adds an answer and returns how many there are.
    func add(_ message: Petrel_Fleet_V1_CollectorMessage) -> Int {
        list.withLock { list in
            list.append(message)
            return list.count
        }
    }

    func end() { ending.finish() }

    func waitForEnd() async { for await _ in ended {} }
}
