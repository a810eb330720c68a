package import Model

/// A target as it is scraped: what its job says, after relabeling.
package struct ScrapeTarget: Equatable, Sendable {
    /// Number of the target, unique within the process.
    package var number: Int
    package var job: ScrapeJob
    /// `__address__`, for the Host header and for people.
    package var address: String
    /// Without brackets.
    package var host: String
    package var port: Int
    package var isTLS: Bool
    /// Path and query as they are asked for.
    package var requestPath: String
    /// What each of its samples carries: `job`, `instance` and what the configuration adds.
    package var labels: Labels
    package var intervalMilliseconds: Int64
    package var timeoutMilliseconds: Int64

    /// The job and the address, for a person.
    package var name: String { "\(job.name) \(address)" }

    /// Labels and URL: the target's identity.
    private var fingerprint: UInt64 {
        Self.identity(labels, isTLS, address, requestPath).fingerprint
    }

    fileprivate static func identity(
        _ labels: Labels, _ isTLS: Bool, _ address: String, _ path: String
    ) -> Labels {
        labels.setting("__url__", "\(isTLS ? "https" : "http")://\(address)\(path)")
    }

    /// The identity as a file's name: the same over restarts.
    package var key: String { String(fingerprint, radix: 16) }

    /// Whether a scrape of the one is in all respects a scrape of the other. Numbers make no difference, nor do the job's
    /// other targets.
    package func isScraped(as other: ScrapeTarget) -> Bool {
        func settled(_ target: ScrapeTarget) -> ScrapeTarget {
            var target = target
            target.number = 0
            target.job.staticConfigs = []
            target.job.relabelRules = []
            return target
        }
        return settled(self) == settled(other)
    }

    /// Where on its grid the target is scraped: targets of one interval don't fire at once, and each fires at the same
    /// offset after every start. Source: Prometheus 3.14 `Target.offset`.
    package var offsetMilliseconds: Int64 {
        Int64(fingerprint % UInt64(intervalMilliseconds))
    }

    /// When the target is scraped, from `time` on.
    package func grid(from time: TimestampMS) -> ScrapeGrid {
        ScrapeGrid(
            intervalMilliseconds: intervalMilliseconds, offsetMilliseconds: offsetMilliseconds,
            startedAt: time)
    }
}

/// A target that its configuration makes impossible, with the reason for a person.
package struct TargetProblem: Error, Hashable, Sendable, CustomStringConvertible {
    package var job: String
    package var address: String
    package var detail: String

    package var description: String { "scrape job `\(job)`, target `\(address)`: \(detail)" }
}

extension ScrapeTarget {
    /// The targets of `jobs`, without those that relabeling drops; of equal ones the first counts.
    /// Throws for an address, interval or scheme that relabeling or the file spoiled, and for a label that is the
    /// collector's.
    package static func all(_ jobs: [ScrapeJob]) throws(TargetProblem) -> [ScrapeTarget] {
        var targets: [ScrapeTarget] = []
        var seen: Set<Labels> = []
        for job in jobs {
            for config in job.staticConfigs {
                for address in config.targets {
                    guard let target = try make(targets.count, job, address, config.labels) else {
                        continue
                    }
                    let identity = identity(
                        target.labels, target.isTLS, target.address, target.requestPath)
                    if seen.insert(identity).inserted { targets.append(target) }
                }
            }
        }
        return targets
    }

    /// Nil where relabeling drops the target. Source: Prometheus 3.14 `scrape.PopulateLabels`.
    private static func make(
        _ number: Int, _ job: ScrapeJob, _ written: String, _ own: Labels
    ) throws(TargetProblem) -> ScrapeTarget? {
        var builder = LabelBuilder(own)
        func problem(_ detail: String) -> TargetProblem {
            TargetProblem(job: job.name, address: written, detail: detail)
        }
        func preset(_ name: String, _ value: String) {
            if builder[name].isEmpty { builder[name] = value }
        }
        builder["__address__"] = written
        preset("job", job.name)
        preset("__scrape_interval__", job.interval.description)
        preset("__scrape_timeout__", job.timeout.description)
        preset("__metrics_path__", job.metricsPath)
        preset("__scheme__", job.scheme)
        for parameter in job.params {
            if let first = parameter.values.first { preset("__param_" + parameter.name, first) }
        }
        guard job.relabelRules.apply(&builder) else { return nil }
        let address = builder["__address__"]
        let scheme = builder["__scheme__"]
        guard scheme == "http" || scheme == "https" else {
            throw problem("the scheme is `\(scheme)`, and http and https are known")
        }
        guard let (host, port) = split(address, standard: scheme == "https" ? 443 : 80) else {
            throw problem("expected HOST:PORT, found `\(address)`")
        }
        guard let interval = PrometheusDuration(builder["__scrape_interval__"]),
            let timeout = PrometheusDuration(builder["__scrape_timeout__"]),
            (1_000...3_600_000).contains(interval.milliseconds),
            (10...interval.milliseconds).contains(timeout.milliseconds)
        else { throw problem("interval and timeout after relabeling are no durations in range") }
        let path = requestPath(builder, job)
        preset("instance", address)
        builder.removeAll { $0.hasPrefix("__") }
        for label in builder.labels where Labels.namesOfCollector.contains(label.name) {
            throw problem("the label \(label.name) is the collector's; name it otherwise")
        }
        return ScrapeTarget(
            number: number, job: job, address: address, host: host, port: port,
            isTLS: scheme == "https", requestPath: path, labels: builder.labels,
            intervalMilliseconds: interval.milliseconds, timeoutMilliseconds: timeout.milliseconds)
    }

    /// `host`, `host:port`, `[::1]:port`.
    static func split(_ address: String, standard: Int) -> (host: String, port: Int)? {
        guard !address.isEmpty, address.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7f && $0 != 0x2f })
        else { return nil }
        if address.hasPrefix("[") {
            guard let end = address.lastIndex(of: "]") else { return nil }
            let host = String(address[address.index(after: address.startIndex)..<end])
            let rest = address[address.index(after: end)...]
            if rest.isEmpty { return host.isEmpty ? nil : (host, standard) }
            guard rest.hasPrefix(":"), let port = Int(rest.dropFirst()), (1...65_535).contains(port)
            else { return nil }
            return host.isEmpty ? nil : (host, port)
        }
        guard let colon = address.lastIndex(of: ":") else { return (address, standard) }
        let host = String(address[..<colon])
        guard !host.isEmpty, !host.contains(":"),
            let port = Int(address[address.index(after: colon)...]), (1...65_535).contains(port)
        else { return nil }
        return (host, port)
    }

    private static func requestPath(_ labels: LabelBuilder, _ job: ScrapeJob) -> String {
        var pairs: [(String, String)] = []
        var named: Set<String> = []
        for parameter in job.params {
            named.insert(parameter.name)
            let first = labels["__param_" + parameter.name]
            for (index, value) in parameter.values.enumerated() {
                pairs.append((parameter.name, index == 0 && !first.isEmpty ? first : value))
            }
        }
        for label in labels.labels where label.name.hasPrefix("__param_") {
            let name = String(label.name.dropFirst(8))
            if !named.contains(name) { pairs.append((name, label.value)) }
        }
        let query = pairs.map { escaped($0.0, keeping: "") + "=" + escaped($0.1, keeping: "") }
        let written = labels["__metrics_path__"]
        // Source: Go's `url.URL.String`, which Prometheus asks by.
        let path = escaped(
            written.hasPrefix("/") ? written : "/" + written, keeping: "/:@!$&'()*+,;=")
        return path + (query.isEmpty ? "" : "?" + query.joined(separator: "&"))
    }

    /// Percent encoding. Source: RFC 3986 section 2.
    private static func escaped(_ text: String, keeping extra: String) -> String {
        var bytes: [UInt8] = []
        let digits = Array("0123456789ABCDEF".utf8)
        for byte in text.utf8 {
            switch byte {
            case 48...57, 65...90, 97...122, UInt8(ascii: "-"), UInt8(ascii: "."),
                UInt8(ascii: "_"), UInt8(ascii: "~"):
                bytes.append(byte)
            case _ where extra.utf8.contains(byte): bytes.append(byte)
            default: bytes += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
