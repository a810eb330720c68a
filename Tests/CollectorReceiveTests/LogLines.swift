import Logging
import Synchronization

/// Keeps the lines that are logged, metadata included.
final class LogLines: Sendable {
    private let lines = Mutex<[String]>([])
    var all: [String] { lines.withLock { $0 } }
    func add(_ line: String) { lines.withLock { $0.append(line) } }
    var logger: Logger { Logger(label: "test") { _ in LineKeeper(lines: self) } }
}

private struct LineKeeper: LogHandler {
    let lines: LogLines
    var logLevel = Logger.Level.info
    var metadata: Logger.Metadata = [:]
    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }
    func log(event: LogEvent) {
        let place = (event.metadata ?? [:]).map { "\($0.key)=\($0.value)" }.sorted()
        lines.add((["\(event.message)"] + place).joined(separator: " "))
    }
}
