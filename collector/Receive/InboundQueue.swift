internal import Model
internal import Synchronization
internal import Wire

/// A message of an agent on its way from the reader of a stream to its processor.
enum Inbound: Sendable {
    case hello(Petrel_Fleet_V1_Hello)
    case dictionary(Petrel_Fleet_V1_Dictionary)
    case batch(Petrel_Fleet_V1_Batch)

    var byteCount: Int {
        switch self {
        case .hello: 0
        case .dictionary(let dictionary): 64 * (dictionary.series.count + dictionary.streams.count)
        case .batch(let batch): batch.payload.count
        }
    }
}

/// The queue between a stream's reader and its processor: one of each.
///
/// The reader waits while the queue holds `itemsMax` messages or `bytesMax` bytes, so HTTP/2 flow control holds the
/// agent back; the processor takes all there is at once, so that queued batches share a commit.
final class InboundQueue: Sendable {
    private struct State {
        var items: [Inbound] = []
        var bytes = 0
        var isFinished = false
        var reader: CheckedContinuation<Void, Never>? {
            didSet { if (reader == nil) != (oldValue == nil) { holdUps += 1 } }
        }
        var holdUps = 0
        var processor: CheckedContinuation<Void, Never>?
    }

    private let state = Mutex(State())
    private let itemsMax: Int
    private let bytesMax: Int

    init(itemsMax: Int, bytesMax: Int) {
        self.itemsMax = itemsMax
        self.bytesMax = bytesMax
    }

    /// How often the reader began or ceased to wait for room: odd while it waits, when no word of the agent is heard.
    var holdUps: Int { state.withLock { $0.holdUps } }

    /// Adds a message and returns when there is room for another, or when the queue is finished.
    func push(_ item: Inbound) async {
        let waiting = state.withLock { state in
            if !state.isFinished {
                state.items.append(item)
                state.bytes += item.byteCount
            }
            defer { state.processor = nil }
            return state.processor
        }
        waiting?.resume()
        await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
                let mayGoOn = state.withLock { state in
                    let hasRoom = state.items.count < itemsMax && state.bytes < bytesMax
                    if hasRoom || state.isFinished { return true }
                    state.reader = continuation
                    return false
                }
                if mayGoOn { continuation.resume() }
            }
        } onCancel: {
            finish()
        }
    }

    /// No more will come: the processor gets what is there, then nothing; the reader never waits again.
    func finish() {
        let waiting = state.withLock { state in
            state.isFinished = true
            defer {
                state.reader = nil
                state.processor = nil
            }
            return [state.reader, state.processor]
        }
        for continuation in waiting { continuation?.resume() }
    }

    /// Everything queued, waiting for at least one message; empty when the queue is finished and drained.
    func takeAll() async -> [Inbound] {
        await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
                let mayGoOn = state.withLock { state in
                    if !state.items.isEmpty || state.isFinished { return true }
                    state.processor = continuation
                    return false
                }
                if mayGoOn { continuation.resume() }
            }
        } onCancel: {
            finish()
        }
        let (items, waiting) = state.withLock { state in
            defer {
                state.items.removeAll()
                state.bytes = 0
                state.reader = nil
            }
            return (state.items, state.reader)
        }
        waiting?.resume()
        return items
    }
}
