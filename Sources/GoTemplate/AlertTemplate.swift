package import Model

/// A template of an alert rule's label or annotation: `{{ $labels.instance }} is at {{ $value }}`.
///
/// Data: `$labels`/`.Labels`, `$value`/`.Value`, `$externalLabels`/`.ExternalLabels`,
/// `$externalURL`/`.ExternalURL`. A label that is missing is the empty text.
/// Source: Prometheus 3.14 rules/alerting.go and template/template.go.
package struct AlertTemplate: Sendable {
    private static let declarations =
        "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}"
        + "{{$externalURL := .ExternalURL}}{{$value := .Value}}"
    private static let parseFunctions = PrometheusFunctions.functions(
        TemplateEnvironment(now: TimestampMS(0)))

    private let template: GoTemplate?
    private let source: String

    /// Parses `source`; an unknown function or variable is an error here, before any alert fires.
    package init(_ source: String) throws(GoTemplateError) {
        self.source = source
        template =
            source.contains("{{")
            ? try GoTemplate(Self.declarations + source, functions: Self.parseFunctions) : nil
    }

    /// The text for an alert with `labels` (those of the series, without the rule's own) and `value`, or a histogram with
    /// that text.
    package func expand(
        labels: Labels, value: Double, histogramText: String? = nil,
        _ environment: TemplateEnvironment
    ) throws(GoTemplateError) -> String {
        guard let template else { return source }
        let data = TemplateValue.object(
            TemplateObject(
                "template.AlertTemplateData",
                fields: [
                    "Labels": .labels(labels), "Value": .sample(value, histogramText),
                    "ExternalLabels": .labels(environment.externalLabels),
                    "ExternalURL": .string(environment.externalURL),
                ]))
        return try template.expand(data, functions: PrometheusFunctions.functions(environment))
    }

    /// As `expand`, but a failure becomes a text that says so, as Prometheus shows it; a missing query still throws
    /// `GoTemplateError.needsQuery`.
    package func expandOrExplain(
        labels: Labels, value: Double, histogramText: String? = nil,
        _ environment: TemplateEnvironment
    ) throws(GoTemplateError) -> String {
        do throws(GoTemplateError) {
            return try expand(
                labels: labels, value: value, histogramText: histogramText, environment)
        } catch {
            if case .needsQuery = error { throw error }
            return "<error expanding template: \(error)>"
        }
    }
}
