package import Exposition
package import Model

/// Bounds that no configuration passes.
package enum ScrapeLimits {
    /// Targets of one agent.
    package static let targetsMax = 100
    /// Series, dropped ones among them, that all targets together may have; past it a scrape that brings new ones fails.
    package static let seriesTotalMax = 50_000
    /// Bytes of bodies that all targets together may have under way; past it a scrape fails.
    package static let bodyBytesTotalMax = 32 << 20
    /// `body_size_limit` where the configuration says none, decompressed.
    package static let bodyBytesDefault = 10 << 20
    /// The highest `body_size_limit`: a body of unknown length may hold as much again while it grows.
    package static let bodyBytesMax = bodyBytesTotalMax / 2
    /// Bytes of the head of an answer.
    package static let headBytesMax = 64 << 10
    /// Samples of one body, before any limit of the configuration.
    package static let samplesMax = 200_000
    /// Bytes of a line.
    package static let lineBytesMax = 1 << 20
    /// Exemplars that one scrape brings, each of at most 128 characters; new ones past it wait for the next scrape.
    package static let exemplarsMax = 1_000
    /// What a series may have so that it can be sent.
    package static let labelsMax = 64
    package static let labelNameBytesMax = 1024
    package static let labelValueBytesMax = 8192
    /// Redirects that one scrape follows. Source: Go's net/http, which Prometheus uses.
    package static let redirectsMax = 10
    /// Bytes of a file with a secret.
    package static let secretBytesMax = 64 << 10
}

/// How a job proves to its targets who asks. Secrets stand in files, which are read for every scrape.
package enum ScrapeAuthorization: Hashable, Sendable {
    case none
    case basic(user: String, passwordFile: String?)
    /// `Authorization: TYPE CREDENTIALS`.
    case credentials(type: String, file: String)

    package var isNone: Bool { self == .none }
}

/// `tls_config`.
package struct ScrapeTLSFiles: Hashable, Sendable {
    /// Nil: the authorities that the system trusts.
    package var caFile: String?
    package var certFile: String?
    package var keyFile: String?
    package var serverName: String?
    package var isUnverified = false

    package init() {}
}

/// One entry of `scrape`, in Prometheus' words.
package struct ScrapeJob: Equatable, Sendable {
    /// One of the request's parameters.
    package struct Parameter: Hashable, Sendable {
        package var name: String
        package var values: [String]

        package init(_ name: String, _ values: [String]) {
            self.name = name
            self.values = values
        }
    }

    package struct StaticConfig: Hashable, Sendable {
        package var targets: [String]
        package var labels: Labels

        package init(targets: [String], labels: Labels = .empty) {
            self.targets = targets
            self.labels = labels
        }
    }

    package var name: String
    package var staticConfigs: [StaticConfig] = []
    package var scheme = "http"
    package var metricsPath = "/metrics"
    /// In the order of the file.
    package var params: [Parameter] = []
    package var interval: PrometheusDuration
    package var timeout: PrometheusDuration
    package var honorsLabels = false
    package var honorsTimestamps = true
    package var followsRedirects = true
    package var authorization = ScrapeAuthorization.none
    package var tls = ScrapeTLSFiles()
    /// Samples after relabeling; 0 is no limit but those of `ScrapeLimits`, as with the three that follow.
    package var sampleLimit = 0
    package var labelLimit = 0
    package var labelNameLengthLimit = 0
    package var labelValueLengthLimit = 0
    package var bodyBytesMax = ScrapeLimits.bodyBytesDefault
    package var fallbackFormat: ExpositionFormat?
    package var relabelRules: [RelabelRule] = []
    package var metricRelabelRules: [RelabelRule] = []

    package init(
        name: String, interval: PrometheusDuration = PrometheusDuration(milliseconds: 15_000),
        timeout: PrometheusDuration = PrometheusDuration(milliseconds: 10_000)
    ) {
        self.name = name
        self.interval = interval
        self.timeout = timeout
    }
}
