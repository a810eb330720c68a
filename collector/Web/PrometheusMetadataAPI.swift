import CollectorQuery
import Model
import Storage

// Series, labels and metadata.
extension PrometheusAPI {
    func series(_ parameters: FormParameters) async throws(QueryFailure) -> WebResponse {
        guard !parameters.all("match[]").isEmpty else {
            throw QueryFailure(.badData, "no match[] parameter provided")
        }
        let limit = try Self.limit(parameters)
        let start = try Self.optionalTime("start", parameters)
        let end = try Self.optionalTime("end", parameters)
        let sets: [[LabelMatcher]]
        do { sets = try matcherSets(parameters) } catch {
            throw Self.invalid("match[]", error)
        }
        let found = try await dependencies.metrics.series(
            MetricQueryService.Scope(matcherSets: sets, start: start, end: end))
        return Self.limited(found, limit) { PrometheusEnvelope.labels($0, to: &$1) }
    }

    func labels(_ parameters: FormParameters) async throws(QueryFailure) -> WebResponse {
        let limit = try Self.limit(parameters)
        let found = try await dependencies.metrics.labelNames(try scope(parameters))
        return Self.limited(found, limit) { $1.string($0) }
    }

    func labelValues(
        _ name: String, _ parameters: FormParameters
    ) async throws(QueryFailure) -> WebResponse {
        guard !name.isEmpty else {
            throw QueryFailure(.badData, "invalid label name: \"\"")
        }
        let limit = try Self.limit(parameters)
        let found = try await dependencies.metrics.labelValues(
            EscapedName.unescape(name), try scope(parameters))
        return Self.limited(found, limit) { $1.string($0) }
    }

    /// Unlike Prometheus, `limit=0` stands for no limit, as it does at the other endpoints and as Grafana means it.
    func metadata(_ parameters: FormParameters) async throws(QueryFailure) -> WebResponse {
        let limit = try Self.count("limit", parameters)
        let perMetric = try Self.count("limit_per_metric", parameters)
        let metric = parameters["metric"].isEmpty ? nil : parameters["metric"]
        let found = try await dependencies.metrics.metadata(metric: metric)
        let names = found.filter { !$0.value.isEmpty }.keys
            .sorted { bytesPrecede($0.text, $1.text) }.prefix(limit)
        return PrometheusEnvelope.success { json in
            json.object { json in
                for name in names {
                    json.key(name.text)
                    json.array { json in
                        for one in (found[name] ?? []).prefix(perMetric) {
                            json.object { Self.write(one, to: &$0) }
                        }
                    }
                }
            }
        }
    }

    /// A bound of a list of metadata; none for 0 and less.
    static func count(
        _ name: String, _ parameters: FormParameters
    ) throws(QueryFailure) -> Int {
        let text = parameters[name]
        guard !text.isEmpty else { return .max }
        guard let count = Int(text) else {
            throw QueryFailure(.badData, "\(name) must be a number")
        }
        return count > 0 ? count : .max
    }

    /// The members of an object.
    static func write(_ metadata: MetricMetadata, to json: inout JSONWriter) {
        json.member("type", metadata.type.rawValue)
        json.member("help", metadata.help)
        json.member("unit", metadata.unit)
    }

    private static func limited<Element: Sendable>(
        _ found: [Element], _ limit: Int?,
        _ write: @escaping @Sendable (Element, inout JSONWriter) -> Void
    ) -> WebResponse {
        let isTruncated = limit.map { found.count > $0 } ?? false
        return PrometheusEnvelope.success(
            warnings: isTruncated ? [truncated] : [],
            ListPieces(found.prefix(limit ?? .max), write))
    }
}

/// Names with characters that old clients don't take, in the forms that they do. Source: Prometheus, "UTF-8 guide".
enum EscapedName {
    /// `name` with an underscore for each character that a name of before Prometheus 3.0 can't have there; colons are for
    /// names of metrics.
    static func underscored(_ name: String, takesColons: Bool = false) -> String {
        var text = ""
        for scalar in name.unicodeScalars {
            let isTaken =
                switch scalar {
                case "a"..."z", "A"..."Z", "_": true
                case "0"..."9": !text.isEmpty
                case ":": takesColons
                default: false
                }
            text.unicodeScalars.append(isTaken ? scalar : "_")
        }
        return text
    }

    /// `labels` with underscored names, that of the metric too. Of labels that come to one name the first counts, and one
    /// that had that name before them all.
    static func underscored(_ labels: Labels) -> Labels {
        var names: Set<String> = [Labels.metricNameLabel]
        var kept: [Label] = []
        var changed: [Label] = []
        for label in labels {
            if label.name == Labels.metricNameLabel {
                kept.append(Label(label.name, underscored(label.value, takesColons: true)))
                continue
            }
            let name = underscored(label.name)
            if name == label.name {
                names.insert(name)
                kept.append(label)
            } else {
                changed.append(Label(name, label.value))
            }
        }
        for label in changed where names.insert(label.name).inserted { kept.append(label) }
        return Labels(kept)
    }

    /// The name that `text`, such as `U__service_2e_name`, stands for; `text` itself where it is not escaped.
    static func unescape(_ text: String) -> String {
        guard text.hasPrefix("U__") else { return text }
        var name = ""
        var rest = text.dropFirst(3)
        while let character = rest.popFirst() {
            guard character == "_" else {
                name.append(character)
                continue
            }
            if rest.first == "_" {
                name.append("_")
                rest.removeFirst()
                continue
            }
            let digits = rest.prefix { $0 != "_" }
            guard digits.utf8.count <= 6, rest.dropFirst(digits.count).first == "_",
                let scalar = UInt32(digits, radix: 16).flatMap(Unicode.Scalar.init)
            else { return text }
            name.unicodeScalars.append(scalar)
            rest = rest.dropFirst(digits.count + 1)
        }
        return name
    }
}
