import CollectorWeb
import Model
import Storage
import Synchronization

/// Keeps what is pushed, once for each digest; drops and refuses what the test says.
final class FakeLogWriter: LogWriter {
    struct State {
        var pushes: [LogPush] = []
        /// Thrown instead of storing.
        var failure: StorageError?
        /// Older lines are too old.
        var oldest = TimestampNS(.min)
        var calls = 0
    }

    let state = Mutex(State())

    func storeLogs(_ push: LogPush) async throws(StorageError) -> LogPushOutcome {
        try state.withLock { state throws(StorageError) in
            state.calls += 1
            if let failure = state.failure { throw failure }
            if state.pushes.contains(where: { $0.digest == push.digest }) { return .repeated }
            let all = push.streams.flatMap(\.entries)
            let tooOld = all.filter { $0.timestamp < state.oldest }.count
            state.pushes.append(push)
            return .stored(entryCount: all.count - tooOld, tooOldCount: tooOld)
        }
    }

    /// The streams of all pushes.
    var streams: [LogStream] { state.withLock { $0.pushes.flatMap(\.streams) } }

    /// The stream of these labels; without entries where there is none.
    func stream(_ labels: Labels) -> LogStream {
        streams.first { $0.labels == labels } ?? LogStream(labels: labels)
    }
}

extension FakeCollector {
    /// A site that takes logs.
    static func site(
        taking writer: FakeLogWriter, _ configuration: LogPushConfiguration = LogPushConfiguration()
    ) -> WebSite {
        site(change: { dependencies in
            dependencies.logWriter = writer
            dependencies.logPush = configuration
        })
    }

    /// What `site` answers to a body.
    static func post(
        _ body: [UInt8], _ path: [String] = ["loki", "api", "v1", "push"],
        type: String? = "application/json", encoding: String? = nil,
        headers: [String: String] = [:], method: String = "POST", to site: WebSite
    ) async -> (status: Int, text: String, response: WebResponse) {
        var all = ["host": "127.0.0.1:9600"]
        all.merge(headers) { $1 }
        all["content-type"] = type
        all["content-encoding"] = encoding
        let response = await site.respond(
            to: WebRequest(method: method, path: path, headers: all, body: body))
        return (response.status, String(decoding: response.body, as: UTF8.self), response)
    }
}
