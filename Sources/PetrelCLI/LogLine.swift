import FoundationEssentials
import Model

/// A log line as the commands show it.
struct LogLine: Hashable {
    /// Nanoseconds since the epoch.
    var timestamp: Int64
    /// Of the stream.
    var labels: [String: String]
    /// Fields beside the line.
    var metadata: [String: String]
    var text: String
    /// It was asked for as what stands before or after another.
    var isContext = false

    var host: String { labels["host"] ?? "" }
    var level: String { metadata["detected_level"] ?? "" }
    /// What a person calls the line's source.
    var unit: String {
        labels["unit"] ?? labels["service_name"] ?? labels["container"] ?? labels["filename"] ?? ""
    }

    /// `{a="b", …}`: the selector of the line's stream.
    var streamSelector: String {
        let matchers = labels.sorted { $0.key < $1.key }.map { name, value in
            name + "=\"" + LogLine.quoted(value) + "\""
        }
        return "{" + matchers.joined(separator: ", ") + "}"
    }

    /// A time as the API writes it, nanoseconds since the epoch. Throws `CommandFailure` for what is none.
    static func time(_ text: String) throws -> Int64 {
        guard let time = Int64(text) else {
            throw CommandFailure("the collector sent a line without a time: \(text.prefix(40))")
        }
        return time
    }

    private static func quoted(_ text: String) -> String {
        var quoted = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\": quoted += "\\\\"
            case "\"": quoted += "\\\""
            case "\n": quoted += "\\n"
            default: quoted.unicodeScalars.append(scalar)
            }
        }
        return quoted
    }

    /// One JSON object, of which nothing steers a terminal.
    var json: String {
        struct Object: Encodable {
            var ts: String
            var time: String
            var labels: [String: String]
            var metadata: [String: String]
            var level: String
            var line: String
            var context: Bool?
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let object = Object(
            ts: "\(timestamp)", time: RFC3339.text(TimestampNS(timestamp)), labels: labels,
            metadata: metadata, level: level, line: text, context: isContext ? true : nil)
        let data = try? encoder.encode(object)
        return data.map { Terminal.escapedJSON(String(decoding: $0, as: UTF8.self)) } ?? "{}"
    }
}

/// The parts of a Loki answer that are shown.
struct LogAnswer: Decodable {
    struct Value: Decodable {
        struct Fields: Decodable {
            var structuredMetadata: [String: String]?
        }

        var timestamp: Int64
        var text: String
        var fields: [String: String]

        init(from decoder: any Decoder) throws {
            var parts = try decoder.unkeyedContainer()
            let time = try parts.decode(String.self)
            guard let timestamp = Int64(time) else {
                throw DecodingError.dataCorruptedError(
                    in: parts, debugDescription: "no nanoseconds: \(time)")
            }
            self.timestamp = timestamp
            text = try parts.decode(String.self)
            fields = parts.isAtEnd ? [:] : try parts.decode(Fields.self).structuredMetadata ?? [:]
        }
    }

    struct Stream: Decodable {
        var stream: [String: String]
        var values: [Value]
    }

    struct Content: Decodable {
        private enum CodingKeys: CodingKey { case resultType, result }

        /// Nil where the query was for numbers.
        var result: [Stream]?

        init(from decoder: any Decoder) throws {
            let fields = try decoder.container(keyedBy: CodingKeys.self)
            guard try fields.decode(String.self, forKey: .resultType) == "streams" else { return }
            result = try fields.decode([Stream].self, forKey: .result)
        }
    }

    var data: Content

    /// Every line, oldest first; of one time in the order of the streams. `isBackward`: the answer is newest first.
    func lines(isBackward: Bool) -> [LogLine] {
        (data.result ?? []).flatMap { stream in
            let lines = stream.values.map { value in
                LogLine(
                    timestamp: value.timestamp, labels: stream.stream, metadata: value.fields,
                    text: value.text)
            }
            return isBackward ? lines.reversed() : lines
        }
        .enumerated()
        .sorted { ($0.element.timestamp, $0.offset) < ($1.element.timestamp, $1.offset) }
        .map(\.element)
    }
}
