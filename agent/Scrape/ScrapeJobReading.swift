import Exposition
import LinearRegex
package import Model
package import YAMLDocument

// `scrape:` of agent.yaml. The words are Prometheus'; what is not listed here is an unknown key.
extension ScrapeJob {
    /// Reads `scrape:`, a list of jobs. `interval` is what a job has that says none.
    package static func readAll(
        _ root: inout YAMLMapping, interval: PrometheusDuration
    ) throws(YAMLError) -> [ScrapeJob] {
        var jobs: [ScrapeJob] = []
        for var entry in try root.mappings("scrape") {
            let job = try read(&entry, interval: interval)
            guard !jobs.contains(where: { $0.name == job.name }) else {
                throw entry.error(at: "job_name", "`\(job.name)` is listed twice")
            }
            try entry.finish()
            jobs.append(job)
        }
        let count = jobs.reduce(0) { $0 + $1.staticConfigs.reduce(0) { $0 + $1.targets.count } }
        guard count <= ScrapeLimits.targetsMax else {
            throw root.error(
                at: "scrape",
                "\(count) targets, and an agent has at most \(ScrapeLimits.targetsMax)")
        }
        return jobs
    }

    private static let second = PrometheusDuration(milliseconds: 1_000)
    private static let hour = PrometheusDuration(milliseconds: 3_600_000)

    private static func read(
        _ entry: inout YAMLMapping, interval: PrometheusDuration
    ) throws(YAMLError) -> ScrapeJob {
        var job = ScrapeJob(name: try entry.requiredString("job_name"))
        job.interval = try entry.duration(
            "scrape_interval", default: interval, range: second...hour)
        let standard = min(job.timeout, job.interval)
        job.timeout = try entry.duration(
            "scrape_timeout", default: standard,
            range: PrometheusDuration(milliseconds: 10)...job.interval)
        job.scheme = try entry.choice("scheme", ["http", "https"], default: job.scheme)
        job.metricsPath = try entry.string("metrics_path", default: job.metricsPath)
        guard job.metricsPath.hasPrefix("/") else {
            throw entry.error(at: "metrics_path", "expected a path that begins with /")
        }
        job.params = try params(&entry)
        job.honorsLabels = try entry.bool("honor_labels", default: job.honorsLabels)
        job.honorsTimestamps = try entry.bool("honor_timestamps", default: job.honorsTimestamps)
        job.followsRedirects = try entry.bool("follow_redirects", default: job.followsRedirects)
        job.authorization = try authorization(&entry)
        job.tls = try tls(&entry)
        try readLimits(&entry, &job)
        job.staticConfigs = try staticConfigs(&entry)
        job.relabelRules = try rules(&entry, "relabel_configs")
        job.metricRelabelRules = try rules(&entry, "metric_relabel_configs")
        return job
    }

    private static func readLimits(
        _ entry: inout YAMLMapping, _ job: inout ScrapeJob
    ) throws(YAMLError) {
        let counts = 0...1_000_000
        job.sampleLimit = try entry.int("sample_limit", default: 0, range: counts)
        job.labelLimit = try entry.int("label_limit", default: 0, range: counts)
        job.labelNameLengthLimit = try entry.int(
            "label_name_length_limit", default: 0, range: counts)
        job.labelValueLengthLimit = try entry.int(
            "label_value_length_limit", default: 0, range: counts)
        let bytes = try entry.byteCount(
            "body_size_limit", default: 0, range: 0...ScrapeLimits.bodyBytesMax)
        if bytes > 0 { job.bodyBytesMax = bytes }
        guard let name = try entry.string("fallback_scrape_protocol") else { return }
        switch name {
        case "PrometheusText0.0.4", "PrometheusText1.0.0": job.fallbackFormat = .prometheusText
        case "OpenMetricsText0.0.1", "OpenMetricsText1.0.0": job.fallbackFormat = .openMetrics
        default:
            throw entry.error(
                at: "fallback_scrape_protocol",
                "expected one of PrometheusText0.0.4, PrometheusText1.0.0, OpenMetricsText0.0.1, "
                    + "OpenMetricsText1.0.0, found `\(name)`")
        }
    }

    private static func params(
        _ entry: inout YAMLMapping
    ) throws(YAMLError) -> [Parameter] {
        var params = try entry.section("params")
        var found: [Parameter] = []
        for key in params.keys { found.append(Parameter(key, try params.strings(key))) }
        try params.finish()
        return found
    }

    private static func staticConfigs(
        _ entry: inout YAMLMapping
    ) throws(YAMLError) -> [StaticConfig] {
        var found: [StaticConfig] = []
        for var config in try entry.mappings("static_configs") {
            let targets = try config.strings("targets")
            guard !targets.isEmpty else {
                throw config.error(at: "targets", "expected a list such as [127.0.0.1:8080]")
            }
            for target in targets where target.contains("/") || target.isEmpty {
                throw config.error(
                    at: "targets", "expected HOST:PORT, found `\(target)`; the path is metrics_path"
                )
            }
            var labels: [Label] = []
            for pair in try config.stringPairs("labels") {
                guard !pair.key.isEmpty else {
                    throw config.error(at: "labels", "a label without a name")
                }
                labels.append(Label(pair.key, pair.value))
            }
            try config.finish()
            found.append(StaticConfig(targets: targets, labels: Labels(labels)))
        }
        guard !found.isEmpty else {
            throw entry.error("the key `static_configs` is missing: the job has no targets")
        }
        return found
    }
}

// Proofs of identity.
extension ScrapeJob {
    private static func path(
        _ mapping: inout YAMLMapping, _ key: String
    ) throws(YAMLError) -> String? {
        guard let path = try mapping.string(key) else { return nil }
        guard path.hasPrefix("/") else {
            throw mapping.error(at: key, "expected an absolute path, found `\(path)`")
        }
        return path
    }

    private static func authorization(
        _ entry: inout YAMLMapping
    ) throws(YAMLError) -> ScrapeAuthorization {
        let hasBasic = try entry.mapping("basic_auth") != nil
        let hasCredentials = try entry.mapping("authorization") != nil
        guard !hasBasic || !hasCredentials else {
            throw entry.error(
                at: "authorization", "at most one of basic_auth and authorization may be there")
        }
        if hasBasic {
            var basic = try entry.section("basic_auth")
            let user = try basic.requiredString("username")
            let file = try path(&basic, "password_file")
            try basic.finish()
            return .basic(user: user, passwordFile: file)
        }
        guard hasCredentials else { return .none }
        var section = try entry.section("authorization")
        let type = try section.string("type", default: "Bearer")
        guard !type.isEmpty, type.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }),
            type.lowercased() != "basic"
        else {
            throw section.error(
                at: "type", "expected one word; for Basic there is basic_auth")
        }
        guard let file = try path(&section, "credentials_file") else {
            throw section.error("the key `credentials_file` is missing")
        }
        try section.finish()
        return .credentials(type: type, file: file)
    }

    private static func tls(_ entry: inout YAMLMapping) throws(YAMLError) -> ScrapeTLSFiles {
        var section = try entry.section("tls_config")
        var tls = ScrapeTLSFiles()
        tls.caFile = try path(&section, "ca_file")
        tls.certFile = try path(&section, "cert_file")
        tls.keyFile = try path(&section, "key_file")
        tls.serverName = try section.string("server_name")
        tls.isUnverified = try section.bool("insecure_skip_verify", default: false)
        guard (tls.certFile == nil) == (tls.keyFile == nil) else {
            throw section.error("cert_file and key_file go together")
        }
        try section.finish()
        return tls
    }
}

// Relabeling.
extension ScrapeJob {
    private static func rules(
        _ entry: inout YAMLMapping, _ key: String
    ) throws(YAMLError) -> [RelabelRule] {
        var rules: [RelabelRule] = []
        for var rule in try entry.mappings(key) {
            rules.append(try self.rule(&rule))
            try rule.finish()
        }
        return rules
    }

    private static func rule(_ entry: inout YAMLMapping) throws(YAMLError) -> RelabelRule {
        let name = try entry.choice(
            "action", RelabelRule.Action.allCases.map(\.rawValue), default: "replace")
        let action = RelabelRule.Action(rawValue: name) ?? .replace
        let pattern = try entry.string("regex")
        let regex: LinearRegex
        do throws(LinearRegexError) {
            regex = try LinearRegex(pattern ?? RelabelRule.defaultPattern, anchored: true)
        } catch { throw entry.error(at: "regex", "\(error)") }
        let rule = RelabelRule(
            action, sourceLabels: try entry.strings("source_labels"),
            separator: try entry.string("separator", default: RelabelRule.defaultSeparator),
            regex: regex, targetLabel: try entry.string("target_label", default: ""),
            replacement: try entry.string("replacement", default: RelabelRule.defaultReplacement))
        switch action {
        case .replace, .keepequal, .dropequal, .lowercase, .uppercase:
            guard !rule.targetLabel.isEmpty else {
                throw entry.error("the action `\(name)` needs a `target_label`")
            }
        case .labeldrop, .labelkeep:
            guard
                !entry.keys.contains(where: { !["action", "regex"].contains($0) })
            else { throw entry.error("the action `\(name)` takes `regex` alone") }
        case .labelmap:
            guard !rule.replacement.isEmpty else {
                throw entry.error(at: "replacement", "must not be empty")
            }
        case .keep, .drop: break
        }
        return rule
    }
}
