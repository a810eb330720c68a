import CollectorQuery
import Model
import QueryMath
import Storage
import World

// Targets. Nothing is scraped from here: each enrolled agent is shown as a target of one pool, revoked ones as dropped; what
// agents scrape are targets of a pool for each job (`ScrapedTarget`).
extension PrometheusAPI {
    /// The scrape pool of the agents.
    static let pool = "petrel-agent"
    /// Seconds between two scrapes of an agent.
    static let scrapeIntervalText = "15s"

    func targets(
        _ path: ArraySlice<String>, _ parameters: FormParameters
    ) async throws(QueryFailure) -> WebResponse {
        switch path.first {
        case "metadata": return try await targetMetadata(parameters)
        case "relabel_steps": return try await relabelSteps(parameters)
        default: return try await targets(parameters)
        }
    }

    private func targets(_ parameters: FormParameters) async throws(QueryFailure) -> WebResponse {
        let state = parameters["state"].lowercased()
        let isAny = state.isEmpty || state == "any"
        let isActive = isAny || state == "active"
        let pool = parameters["scrapePool"]
        let isPool = ["", Self.pool].contains(pool)
        let hosts = try await hosts()
        let (known, missing) =
            isActive && pool != Self.pool ? await knownTargets() : ([], [])
        let scraped = known.filter { pool.isEmpty || bytesEqual($0.pool, pool) }
        let active = hosts.filter { isPool && !$0.revoked && isActive }
        let dropped = hosts.filter { isPool && $0.revoked && (isAny || state == "dropped") }
        let now = dependencies.clock.now.milliseconds
        let isCut = scraped.count > ScrapedTarget.shownMax
        return PrometheusEnvelope.success(
            warnings: missing + (isCut ? [Self.truncated] : [])
        ) { json in
            json.object { json in
                json.member("activeTargets") { json in
                    json.array { json in
                        for one in active { Self.write(one, now, to: &json) }
                        for one in scraped.prefix(ScrapedTarget.shownMax) { one.write(to: &json) }
                    }
                }
                json.member("droppedTargets") { json in
                    json.array { json in
                        for one in dropped {
                            json.object { json in
                                json.member("discoveredLabels") {
                                    PrometheusEnvelope.labels(Self.discovered(one), to: &$0)
                                }
                                json.member("scrapePool", Self.pool)
                            }
                        }
                    }
                }
                json.member("droppedTargetCounts") { json in
                    json.object { json in
                        json.member(Self.pool) {
                            $0.number(Int64(hosts.count { $0.revoked }))
                        }
                    }
                }
            }
        }
    }

    private func hosts() async throws(QueryFailure) -> [FleetHost] {
        do {
            return try await dependencies.hosts().sorted { $0.host < $1.host }
        } catch { throw QueryFailure(any: error) }
    }

    private static func write(
        _ host: FleetHost, _ now: TimestampMS, to json: inout JSONWriter
    ) {
        let health =
            switch PetrelAPI.state(of: host, now: now) {
            case "up": "up"
            case "enrolled": "unknown"
            default: "down"
            }
        json.object { json in
            json.member("discoveredLabels") {
                PrometheusEnvelope.labels(discovered(host), to: &$0)
            }
            json.member("labels") { PrometheusEnvelope.labels(labels(of: host), to: &$0) }
            json.member("scrapePool", pool)
            json.member("scrapeUrl", "petrel://\(host.host.text)/")
            json.member("globalUrl", "petrel://\(host.host.text)/")
            json.member(
                "lastError",
                health == "down" ? "the agent was not heard from within 30 s" : "")
            json.member("lastScrape", timeText(host.lastSeenAt))
            json.member("lastScrapeDuration") { $0.number(0 as Int64) }
            json.member("health", health)
            json.member("scrapeInterval", scrapeIntervalText)
            json.member("scrapeTimeout", scrapeIntervalText)
        }
    }

    /// The labels of `petrel_agent_up`, which says of the same hosts whether they are there.
    private static func labels(of host: FleetHost) -> Labels {
        ["host": host.host.text, "instance": host.host.text, "job": pool]
    }

    private static func discovered(_ host: FleetHost) -> Labels {
        Labels([
            Label("__address__", host.host.text), Label("__scheme__", "petrel"),
            Label("__scrape_interval__", scrapeIntervalText), Label("job", pool),
            Label("__meta_petrel_agent_version", host.facts.agentVersion),
            Label("__meta_petrel_kernel", host.facts.kernel),
            Label("__meta_petrel_operating_system", host.facts.operatingSystem),
            Label("__meta_petrel_role", host.facts.role),
        ])
    }

    // MARK: Metadata

    private func targetMetadata(
        _ parameters: FormParameters
    ) async throws(QueryFailure) -> WebResponse {
        let limit = try Self.count("limit", parameters)
        let selector = parameters["match_target"]
        var sets: [[LabelMatcher]] = []
        if !selector.isEmpty {
            do { sets = try dependencies.metrics.matcherSets([selector]) } catch {
                throw Self.invalid("match_target", error)
            }
        }
        let selectors = try SelectorSet(sets)
        let metric = parameters["metric"]
        let known = try await dependencies.metrics.metadata(metric: metric.isEmpty ? nil : metric)
        var found: [(target: Labels, family: String, metadata: MetricMetadata)] = []
        for host in try await hosts() where !host.revoked {
            let target = Self.labels(of: host)
            guard found.count < limit, selectors.accepts(target) else { continue }
            let names = Set(
                try await dependencies.metrics.labelValues(
                    Labels.metricNameLabel,
                    MetricQueryService.Scope(
                        matcherSets: [[LabelMatcher("host", .equal, host.host.text)]])
                ).map { ExactText($0) })
            for family in known.keys.sorted(by: { bytesPrecede($0.text, $1.text) })
            where ["", "_count", "_bucket", "_sum"].contains(where: { suffix in
                names.contains(ExactText(family.text + suffix))
            }) {
                for one in known[family]?.prefix(1) ?? [] {
                    found.append((target, family.text, one))
                }
            }
        }
        let shown = found.prefix(limit)
        return PrometheusEnvelope.success { json in
            json.array { json in
                for one in shown {
                    json.object { json in
                        json.member("target") { PrometheusEnvelope.labels(one.target, to: &$0) }
                        if metric.isEmpty { json.member("metric", one.family) }
                        Self.write(one.metadata, to: &json)
                    }
                }
            }
        }
    }

    // MARK: Pools

    func scrapePools(
        _ path: ArraySlice<String>, _ parameters: FormParameters
    ) async throws(QueryFailure) -> WebResponse {
        guard path.first == "config" else {
            let (known, missing) = await knownTargets()
            let jobs = Set(known.map { ExactText($0.pool) })
            let pools = jobs.union([ExactText(Self.pool)]).map(\.text).sorted(by: bytesPrecede)
            return PrometheusEnvelope.success(warnings: missing) { json in
                json.object { json in
                    json.member("scrapePools") { PrometheusEnvelope.strings(pools, to: &$0) }
                }
            }
        }
        try await requirePool(parameters)
        return PrometheusEnvelope.success { json in
            json.object { $0.member("yaml", Self.poolYAML) }
        }
    }

    /// Agents are not relabelled.
    private func relabelSteps(
        _ parameters: FormParameters
    ) async throws(QueryFailure) -> WebResponse {
        guard !parameters["scrapePool"].isEmpty else {
            throw QueryFailure(.badData, "no scrapePool parameter provided")
        }
        guard !parameters["labels"].isEmpty else {
            throw QueryFailure(.badData, "no labels parameter provided")
        }
        try await requirePool(parameters)
        return PrometheusEnvelope.success { json in
            json.object { $0.member("steps") { $0.array { _ in } } }
        }
    }

    /// Throws unless the request is about the pool of the agents: how others are scraped is known where they are.
    private func requirePool(_ parameters: FormParameters) async throws(QueryFailure) {
        let name = parameters["scrapePool"]
        guard !name.isEmpty else {
            throw QueryFailure(.badData, "no scrapePool parameter provided")
        }
        guard name == Self.pool else {
            guard await !knownTargets().targets.contains(where: { bytesEqual($0.pool, name) })
            else {
                throw QueryFailure(
                    .execution,
                    "scrape pool \(Self.quoted(name)) is configured where it is scraped: see "
                        + "`scrape` in the agent.yaml there")
            }
            throw QueryFailure(
                .badData,
                "error retrieving scrape config: scrape pool \(Self.quoted(name)) not found")
        }
    }

    static let poolYAML = """
        job_name: \(pool)
        scrape_interval: \(scrapeIntervalText)
        scrape_timeout: \(scrapeIntervalText)

        """
}
