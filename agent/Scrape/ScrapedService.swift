package import Model

/// A service beside the agent that is scraped without an entry of `scrape`.
package struct ScrapedService: Hashable, Sendable {
    /// The label `job`.
    package var job: String
    /// `HOST:PORT`; asked in plain HTTP for `/metrics`.
    package var address: String
    /// Beside `job`.
    package var labels: Labels
    /// It was found, and nobody named it: it gives way to an entry of `scrape` of the same name as well.
    package var isFound: Bool

    /// Samples of one scrape; one with more fails, as under `sample_limit`.
    package static let samplesMax = 10_000

    package init(job: String, address: String, labels: Labels = .empty, isFound: Bool) {
        self.job = job
        self.address = address
        self.labels = labels
        self.isFound = isFound
    }

    fileprivate func target(interval: PrometheusDuration) -> ScrapeTarget? {
        var job = ScrapeJob(name: job, interval: interval)
        job.timeout = min(job.timeout, interval)
        // Who listens there leads the agent nowhere else.
        job.followsRedirects = false
        job.sampleLimit = Self.samplesMax
        job.staticConfigs = [ScrapeJob.StaticConfig(targets: [address], labels: labels)]
        return (try? ScrapeTarget.all([job]))?.first
    }
}

extension ScrapeTarget {
    /// `configured`, and behind them `services`, without those that an entry of the configuration scrapes already; past
    /// `ScrapeLimits.targetsMax` in all none is added.
    package static func all(
        _ configured: [ScrapeTarget], and services: [ScrapedService],
        interval: PrometheusDuration
    ) -> [ScrapeTarget] {
        var targets = configured
        for service in services where targets.count < ScrapeLimits.targetsMax {
            guard let target = service.target(interval: interval),
                !configured.contains(where: {
                    $0.isAtPlace(of: target) || service.isFound && $0.job.name == service.job
                })
            else { continue }
            targets.append(target)
        }
        return targets
    }

    /// Whether `address`, `HOST:PORT`, is where this target is scraped, whatever its path.
    package func isScraped(at address: String) -> Bool {
        guard let place = Self.split(address, standard: 80) else { return false }
        return port == place.port && Self.isSameHost(host, place.host)
    }

    private func isAtPlace(of other: ScrapeTarget) -> Bool {
        port == other.port && Self.isSameHost(host, other.host)
    }

    /// A host's loopbacks are one.
    private static func isSameHost(_ one: String, _ other: String) -> Bool {
        let (one, other) = (one.lowercased(), other.lowercased())
        return one == other || isLoopback(one) && isLoopback(other)
    }

    private static func isLoopback(_ host: String) -> Bool {
        host == "localhost" || host == "::1" || host.hasPrefix("127.")
    }
}
