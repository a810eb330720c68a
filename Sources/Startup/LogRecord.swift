package import Model

/// A line of a program's own log before it has a form.
package struct LogRecord: Hashable, Sendable {
    /// Severities in order, with the names that lines carry.
    package enum Level: String, CaseIterable, Hashable, Sendable {
        case trace, debug, info, notice, warning, error, critical

        /// The priority that journald reads from `<N>` before a line. Source: sd-daemon(3).
        var priority: Int {
            switch self {
            case .trace, .debug: 7
            case .info: 6
            case .notice: 5
            case .warning: 4
            case .error: 3
            case .critical: 2
            }
        }
    }

    /// A key with its value, such as `host` or `sequence`.
    package struct Field: Hashable, Sendable {
        package var key: String
        package var value: String

        package init(_ key: String, _ value: String) {
            self.key = key
            self.value = value
        }
    }

    package var time: TimestampNS
    package var level: Level
    /// The program or the part of it that speaks.
    package var logger: String
    package var message: String
    /// In the order printed.
    package var fields: [Field]

    package init(
        time: TimestampNS, level: Level, logger: String, message: String, fields: [Field] = []
    ) {
        self.time = time
        self.level = level
        self.logger = logger
        self.message = message
        self.fields = fields
    }
}
