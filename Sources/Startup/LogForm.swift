package import World
package import YAMLDocument

/// `log_format` of a configuration file.
package enum LogFormat: String, CaseIterable, Hashable, Sendable {
    /// Text where standard error is a terminal, JSON elsewhere.
    case auto
    case json
    case text

    /// The names that a configuration file may use.
    package static var names: [String] { allCases.map(\.rawValue) }
}

/// The form that the lines of one process take.
package struct LogForm: Hashable, Sendable {
    package var isJSON: Bool
    /// Whether journald reads the lines and takes a priority from each.
    package var hasPriority: Bool

    package init(isJSON: Bool, hasPriority: Bool) {
        self.isJSON = isJSON
        self.hasPriority = hasPriority
    }

    /// What `format` means here. Standard error is the journal where `JOURNAL_STREAM` names its device and inode.
    /// Source: systemd.exec(5).
    package init(_ format: LogFormat, _ surroundings: any Surroundings) {
        isJSON =
            switch format {
            case .auto: !surroundings.standardErrorIsTerminal
            case .json: true
            case .text: false
            }
        hasPriority = false
        guard let stream = surroundings.environment("JOURNAL_STREAM"),
            let identity = surroundings.standardErrorIdentity
        else { return }
        hasPriority = stream == "\(identity.device):\(identity.inode)"
    }

    /// The line of `record`, with its end.
    package func line(_ record: LogRecord) -> [UInt8] {
        let line = isJSON ? LogLine.json(record) : LogLine.text(record)
        return hasPriority ? LogLine.withPriority(line, record.level) : line
    }
}

extension YAMLMapping {
    /// `log_format`: one of `LogFormat.names`.
    package mutating func logFormat(
        default fallback: LogFormat
    ) throws(YAMLError) -> LogFormat {
        let name = try choice("log_format", LogFormat.names, default: fallback.rawValue)
        return LogFormat(rawValue: name) ?? fallback
    }
}
