import CollectorQuery
import Model
import World

/// A target that an agent scrapes, or a Prometheus that sends its samples here: what its series `up` says.
///
/// Address, path, interval and error of the scrape are known where it is scraped alone.
struct ScrapedTarget: Sendable {
    /// Most of them in one answer.
    static let shownMax = 10_000

    /// Those of `up` but for its name: `job` and `instance`, of an agent's target `host` too.
    var labels: Labels
    /// What `up` is: 1 after a scrape that succeeded.
    var up: Double
    var scrapedAt: TimestampMS
    /// How long that scrape took; 0 where it is not known.
    var seconds: Double

    var pool: String { labels["job"] }

    func write(to json: inout JSONWriter) {
        let health = up == 1 ? "up" : up == 0 ? "down" : "unknown"
        json.object { json in
            json.member("discoveredLabels") { PrometheusEnvelope.labels(discovered, to: &$0) }
            json.member("labels") { PrometheusEnvelope.labels(labels, to: &$0) }
            json.member("scrapePool", pool)
            json.member("scrapeUrl", "")
            json.member("globalUrl", "")
            json.member("lastError", health == "down" ? failure : "")
            json.member("lastScrape", PrometheusAPI.timeText(scrapedAt))
            json.member("lastScrapeDuration") { $0.number(seconds) }
            json.member("health", health)
            json.member("scrapeInterval", "")
            json.member("scrapeTimeout", "")
        }
    }

    /// An instance is the address, unless relabeling made it another.
    private var discovered: Labels {
        Labels([
            Label("__address__", labels["instance"]), Label("job", pool),
            Label("__meta_petrel_host", labels["host"]),
        ])
    }

    private var failure: String {
        let host = labels["host"]
        return host.isEmpty
            ? "the scrape failed"
            : "the scrape failed; the log of the agent on \(host) says why"
    }
}

extension PrometheusAPI {
    /// As `scrapedTargets`; where these can't be told now, none and why.
    func knownTargets() async -> (targets: [ScrapedTarget], warnings: [String]) {
        do throws(QueryFailure) {
            return (try await scrapedTargets(), [])
        } catch {
            return ([], ["targets that agents scrape are left out: \(error.message)"])
        }
    }

    /// The targets that were scraped within the last five minutes, by pool and then by labels; what ended, as where a
    /// target is gone from the configuration, is left out.
    func scrapedTargets() async throws(QueryFailure) -> [ScrapedTarget] {
        let duration = "scrape_duration_seconds"
        let samples = try await dependencies.metrics.latest(
            ["up", duration].map { [LabelMatcher(Labels.metricNameLabel, .equal, $0)] },
            at: dependencies.clock.now.milliseconds)
        var seconds: [Labels: Double] = [:]
        for sample in samples
        where sample.labels.metricName == duration && sample.value.isFinite {
            seconds[sample.labels.dropping([Labels.metricNameLabel])] = sample.value
        }
        var targets: [ScrapedTarget] = []
        for sample in samples
        where sample.labels.metricName == "up" && sample.histogram == nil {
            let labels = sample.labels.dropping([Labels.metricNameLabel])
            guard !labels["job"].isEmpty, !labels["instance"].isEmpty else { continue }
            targets.append(
                ScrapedTarget(
                    labels: labels, up: sample.value, scrapedAt: sample.timestamp,
                    seconds: seconds[labels] ?? 0))
        }
        return targets.sorted { a, b in
            bytesEqual(a.pool, b.pool) ? a.labels < b.labels : bytesPrecede(a.pool, b.pool)
        }
    }
}
