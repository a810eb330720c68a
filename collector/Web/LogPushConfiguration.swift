package import OTLP

/// How logs that senders push are labelled.
package struct LogPushConfiguration: Sendable {
    /// A stream without `service_name` has the value of the first of these labels that it has as its own, else
    /// `unknown_service`. With none it has no `service_name`.
    package var serviceNameLabels: [String]
    /// What becomes of OpenTelemetry's attributes.
    package var attributes: LogAttributeRules

    package init(
        serviceNameLabels: [String] = LogPushConfiguration.serviceNameLabels,
        attributes: LogAttributeRules = .standard
    ) {
        self.serviceNameLabels = serviceNameLabels
        self.attributes = attributes
    }

    /// Source: Loki 3.6 `discover_service_name`.
    package static let serviceNameLabels = [
        "service", "app", "application", "app_name", "name", "app_kubernetes_io_name",
        "container", "container_name", "k8s_container_name", "component", "workload", "job",
        "k8s_job_name",
    ]
}
