import CollectorQuery
import Exposition
package import Logging
import Model
package import World

/// Every HTTP surface of the collector: gate, routes, and the form of what goes wrong. Knows no HTTP library.
package struct WebSite: Sendable {
    /// A request that took longer is logged, milliseconds.
    static let slowMilliseconds: Int64 = 5_000
    /// Bytes of an answer's text that are logged with a failure.
    static let loggedBytesMax = 300

    private let gate: WebGate
    private let failures = RepeatedFailures()
    private let random: any RandomSource
    private let logger: Logger
    let dependencies: WebDependencies
    private let prometheus: PrometheusAPI
    private let loki: LokiAPI
    private let petrel: PetrelAPI
    private let remoteWrite: RemoteWriteAPI
    private let otlp: OTLPAPI
    /// Nil where no logs are taken.
    private let logIntake: LogIntake?

    /// `random` makes the ids of requests that bring none.
    package init(
        configuration: WebConfiguration, dependencies: WebDependencies,
        random: any RandomSource, logger: Logger
    ) {
        self.random = random
        self.logger = logger
        gate = WebGate(configuration)
        self.dependencies = dependencies
        prometheus = PrometheusAPI(dependencies: dependencies)
        loki = LokiAPI(dependencies: dependencies)
        petrel = PetrelAPI(dependencies: dependencies)
        let intake = SampleIntake(writer: dependencies.sampleWriter)
        remoteWrite = RemoteWriteAPI(intake: intake)
        otlp = OTLPAPI(intake: intake)
        logIntake = dependencies.logWriter.map { writer in
            LogIntake(
                writer: writer, configuration: dependencies.logPush, clock: dependencies.clock)
        }
    }

    /// The answer to `request`, with every header but those of the transport.
    package func respond(to request: WebRequest) async -> WebResponse {
        let id = RequestIdentity.id(of: request, random: random)
        let start = dependencies.clock.monotonicNanoseconds
        var response = await answer(request)
        response.headers.append((name: RequestIdentity.header, value: id))
        note(
            request, id, response,
            milliseconds: (dependencies.clock.monotonicNanoseconds - start) / 1_000_000)
        ResponseCompression.compress(&response, for: request)
        if request.method == "HEAD" {
            response.body = []
            response.rest = nil
            // A connection can't change its protocol without a body.
            if response.live != nil { response.status = 400 }
            response.live = nil
        }
        return response
    }

    private func answer(_ request: WebRequest) async -> WebResponse {
        var response: WebResponse
        do {
            try gate.admit(request)
            response = await route(request)
        } catch { response = Self.refusal(error, request) }
        for header in gate.headers(for: request) where response.header(header.name) == nil {
            response.headers.append(header)
        }
        return response
    }

    /// Logs what failed here or took long; never parameters, which may hold what is nobody else's business. What is away
    /// for now is logged once in a while, with the number of times that it came meanwhile.
    private func note(
        _ request: WebRequest, _ id: String, _ response: WebResponse, milliseconds: Int64
    ) {
        let isFailure = response.status >= 500
        guard isFailure || milliseconds >= Self.slowMilliseconds else { return }
        var metadata: Logger.Metadata = [
            "request_id": "\(id)", "method": "\(request.method)",
            "path": "/\(request.path.joined(separator: "/"))", "status": "\(response.status)",
            "duration_ms": "\(milliseconds)",
        ]
        guard isFailure else {
            logger.notice("a request took long", metadata: metadata)
            return
        }
        let error = response.body.prefix(Self.loggedBytesMax)
        metadata["error"] = "\(String(decoding: error, as: UTF8.self))"
        if response.status == 503 {
            let key = RepeatedFailures.Key(
                path: request.path, error: Array(error))
            guard
                let unsaid = failures.unsaid(key, at: dependencies.clock.monotonicNanoseconds)
            else { return }
            if unsaid > 0 { metadata["repeated"] = "\(unsaid)" }
        }
        // Who asks whether we are ready does so every few seconds; the store's own lines say that it is away.
        let isExpected = ["ready", "readyz"].contains(request.path.last)
        logger.log(level: isExpected ? .debug : .error, "a request failed", metadata: metadata)
    }

    /// The answer to a request that could not be read.
    package func refuse(
        _ refusal: WebRefusal, path: [String], contentType: String? = nil
    ) -> WebResponse {
        var request = WebRequest(method: "GET", path: path)
        request.headers["content-type"] = contentType
        var response = Self.refusal(refusal, request)
        response.headers += gate.headers(for: request)
        response.headers.append(
            (name: RequestIdentity.header, value: RequestIdentity.id(of: request, random: random)))
        return response
    }

    private static func refusal(_ refusal: WebRefusal, _ request: WebRequest) -> WebResponse {
        var response = form(refusal, request)
        // OTLP has one for every 503.
        if let seconds = refusal.retryAfter, response.header("retry-after") == nil {
            response.headers.append((name: "retry-after", value: "\(seconds)"))
        }
        return response
    }

    /// In the form of the API that was asked.
    private static func form(_ refusal: WebRefusal, _ request: WebRequest) -> WebResponse {
        switch request.path.first {
        case "prometheus":
            let type =
                switch refusal.status {
                case 404: "not_found"
                case 403, 421: "forbidden"
                case 503: "unavailable"
                default: "bad_data"
                }
            return PrometheusEnvelope.failure(refusal.status, type, refusal.message)
        case "loki": return .text(refusal.message, status: refusal.status)
        case "otlp":
            return OTLPAPI.response(
                IngestRefusal(
                    refusal.status, refusal.message, retryAfter: refusal.retryAfter),
                OTLPAPI.encoding(request.headers["content-type"]))
        default: return PetrelAPI.failure(refusal.status, refusal.message)
        }
    }

    private func route(_ request: WebRequest) async -> WebResponse {
        if request.method == "OPTIONS" { return WebResponse(status: 204) }
        // PUT is for Prometheus' administration alone.
        let isPut = request.method == "PUT" && request.path.first == "prometheus"
        guard isPut || ["GET", "HEAD", "POST"].contains(request.method) else {
            var response = Self.refusal(
                WebRefusal(405, "method \(request.method) is not allowed"), request)
            response.headers.append((name: "allow", value: "GET, HEAD, POST, OPTIONS"))
            return response
        }
        if let response = await surface(request) { return response }
        // Grafana looks for these words in what Prometheus' own paths answer, and Loki's old ones.
        let isLookedAt =
            request.path.first == "prometheus" || request.path.prefix(2) == ["api", "prom"]
        let problem = isLookedAt ? "page not found" : "no such path"
        return Self.refusal(
            WebRefusal(404, "\(problem): /" + request.path.joined(separator: "/")), request)
    }

    private func surface(_ request: WebRequest) async -> WebResponse? {
        var request = request
        if request.method == "HEAD" { request.method = "GET" }
        let path = request.path
        if let logIntake {
            if LokiPushAPI.paths.contains(path) {
                return await LokiPushAPI(intake: logIntake).respond(request)
            }
            if path == OTLPLogsAPI.path {
                return await OTLPLogsAPI(intake: logIntake).respond(request)
            }
        } else if path == OTLPLogsAPI.path {
            return Self.refusal(WebRefusal(404, "no logs are taken here"), request)
        }
        switch path.prefix(3) {
        case ["prometheus", "api", "v1"] where path == RemoteWriteAPI.path:
            return await remoteWrite.respond(request)
        case ["prometheus", "api", "v1"]:
            return await prometheus.respond(request, path: path.dropFirst(3))
        case ["loki", "api", "v1"] where path.dropFirst(3) == ["ready"]: return await readiness()
        case ["loki", "api", "v1"]: return await loki.respond(request, path: path.dropFirst(3))
        default: break
        }
        if path.prefix(2) == ["api", "v1"] {
            return await petrel.respond(request, path: path.dropFirst(2))
        }
        if path.first == "otlp" { return await otlp.respond(request) }
        if path.first == "prometheus" {
            let rest = Array(path.dropFirst())
            if rest == ["federate"] {
                return await PrometheusFederation(dependencies: dependencies).respond(request)
            }
            // `promtool check` and `promtool debug` ask below the API's root, prometheus-api-client the root itself.
            if [[], ["metrics"], ["-", "healthy"], ["-", "ready"]].contains(rest) {
                return await page(rest)
            }
            return nil
        }
        return await page(path)
    }

    private func page(_ path: [String]) async -> WebResponse? {
        switch path {
        case []: return StartPage.response(version: dependencies.version)
        case ["petrel.css"]: return StartPage.style
        case ["healthz"], ["-", "healthy"]: return .text("ok\n")
        case ["ready"], ["readyz"], ["-", "ready"]: return await readiness()
        case ["metrics"]:
            return WebResponse(
                contentType: ExpositionWriter.contentType,
                body: ExpositionWriter.text(
                    await dependencies.ownMetrics() + remoteWrite.families()
                        + otlp.families() + (logIntake?.metrics.families() ?? [])))
        default: return nil
        }
    }

    private func readiness() async -> WebResponse {
        do {
            try await dependencies.checkReadiness()
            return .text("ready\n")
        } catch { return .text("not ready: \(QueryFailure(any: error))\n", status: 503) }
    }
}
