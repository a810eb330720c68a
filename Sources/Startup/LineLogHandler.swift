package import Logging
package import World

/// Writes each log event as one line to standard error.
package struct LineLogHandler: LogHandler {
    /// Levels of metadata within metadata that become `outer.inner`; deeper ones are printed as they are.
    static let nestingMax = 4
    /// Fields of one line; further ones are left out.
    static let fieldsMax = 64

    private let label: String
    private let form: LogForm
    private let surroundings: any Surroundings
    private let clock: any WorldClock
    package var metadata: Logger.Metadata = [:]
    package var metadataProvider: Logger.MetadataProvider?
    package var logLevel = Logger.Level.info

    package init(
        label: String, form: LogForm, surroundings: any Surroundings, clock: any WorldClock
    ) {
        self.label = label
        self.form = form
        self.surroundings = surroundings
        self.clock = clock
    }

    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    package func log(event: LogEvent) {
        var all = metadata
        if let provided = metadataProvider?.get() { all.merge(provided) { $1 } }
        if let own = event.metadata { all.merge(own) { $1 } }
        if let error = event.error, all["error"] == nil { all["error"] = "\(error)" }
        var fields: [LogRecord.Field] = []
        Self.flatten(all, prefix: "", depth: 0, into: &fields)
        surroundings.writeStandardError(
            form.line(
                LogRecord(
                    time: clock.now, level: LogRecord.Level(event.level), logger: label,
                    message: event.message.description, fields: fields)))
    }

    private static func flatten(
        _ metadata: Logger.Metadata, prefix: String, depth: Int,
        into fields: inout [LogRecord.Field]
    ) {
        for (key, value) in metadata.sorted(by: { $0.key < $1.key }) {
            if case .dictionary(let inner) = value, depth < nestingMax {
                flatten(inner, prefix: prefix + key + ".", depth: depth + 1, into: &fields)
            } else if fields.count < fieldsMax {
                fields.append(LogRecord.Field(prefix + key, value.description))
            }
        }
    }
}

extension LogRecord.Level {
    init(_ level: Logger.Level) {
        self =
            switch level {
            case .trace: .trace
            case .debug: .debug
            case .info: .info
            case .notice: .notice
            case .warning: .warning
            case .error: .error
            case .critical: .critical
            }
    }
}

extension Logger {
    /// A program's logger. `level` is one of swift-log's names; another one means `info`.
    package init(
        label: String, level: String, format: LogFormat, surroundings: any Surroundings,
        clock: any WorldClock
    ) {
        let form = LogForm(format, surroundings)
        self.init(label: label) {
            LineLogHandler(label: $0, form: form, surroundings: surroundings, clock: clock)
        }
        logLevel = Logger.Level(rawValue: level) ?? .info
    }
}
