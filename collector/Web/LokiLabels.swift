import Exposition
import LogQLSyntax
import Model
import PromQLSyntax

/// Label sets as Loki writes and reads them.
enum LokiLabels {
    /// Bytes of a label set that a message shows.
    private static let shownBytesMax = 4_096

    /// `{a="b", c="d"}`. Source: Prometheus 3.14 `labels.Labels.String`.
    static func text(_ labels: some Sequence<Label>) -> String {
        let pairs = labels.map { label in
            (isIdentifier(label.name) ? label.name : quoted(label.name)) + "="
                + quoted(label.value)
        }
        return "{" + pairs.joined(separator: ", ") + "}"
    }

    /// As `text`, of long sets only the beginning.
    static func shownText(_ labels: Labels) -> String { shown(text(labels)) }

    /// `text`, or its beginning where it is long.
    static func shown(_ text: String) -> String {
        guard text.utf8.count > shownBytesMax else { return text }
        return String(decoding: text.utf8.prefix(shownBytesMax), as: UTF8.self) + "…"
    }

    /// The set that `text` is. Throws 400 with Loki's words.
    static func parse(_ text: String) throws(IngestRefusal) -> Labels {
        do throws(LogQLSyntaxError) { return try LogQLParser.parseLabels(text) } catch {
            throw IngestRefusal(400, "couldn't parse labels: \(error)")
        }
    }

    /// The set of these labels, whose names are read as in a text: not every name may stand there. Throws 400.
    static func parse(_ labels: [Label]) throws(IngestRefusal) -> Labels {
        guard labels.allSatisfy({ isIdentifier($0.name) }) else {
            let pairs = labels.map { $0.name + "=" + quoted($0.value) }
            return try parse("{" + pairs.joined(separator: ", ") + "}")
        }
        return Labels(labels)
    }

    private static func isIdentifier(_ name: String) -> Bool {
        ExpositionWriter.isLegacyName(name, colonAllowed: false)
    }
}
