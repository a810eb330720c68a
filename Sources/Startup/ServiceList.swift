package import Logging
package import ServiceLifecycle
import UnixSignals

/// Every long life of a program, in data order; shut down in reverse.
package enum ServiceList {
    /// How long services may take to end by themselves, and then when cancelled.
    static let shutdownMax = Duration.seconds(15)
    static let cancellationMax = Duration.seconds(5)

    /// A group that ends on SIGTERM and SIGINT and where one of `services` fails. `endsWithFirst`: also where one
    /// returns, for programs none of whose services may end alone.
    package static func group(
        _ services: [any Service], endsWithFirst: Bool, logger: Logger
    ) -> ServiceGroup {
        var group = ServiceGroupConfiguration(
            services: services.map {
                ServiceGroupConfiguration.ServiceConfiguration(
                    service: $0,
                    successTerminationBehavior: endsWithFirst ? .gracefullyShutdownGroup : .ignore,
                    failureTerminationBehavior: .gracefullyShutdownGroup)
            }, gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
        group.maximumGracefulShutdownDuration = shutdownMax
        group.maximumCancellationDuration = cancellationMax
        return ServiceGroup(configuration: group)
    }
}
