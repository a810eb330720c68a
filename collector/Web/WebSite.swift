import CollectorQuery
import Exposition
import Model

/// Every HTTP surface of the collector: gate, routes, and the form of what goes wrong. Knows no HTTP library.
package struct WebSite: Sendable {
    private let gate: WebGate
    private let dependencies: WebDependencies
    private let prometheus: PrometheusAPI
    private let loki: LokiAPI
    private let petrel: PetrelAPI

    package init(configuration: WebConfiguration, dependencies: WebDependencies) {
        gate = WebGate(configuration)
        self.dependencies = dependencies
        prometheus = PrometheusAPI(dependencies: dependencies)
        loki = LokiAPI(dependencies: dependencies)
        petrel = PetrelAPI(dependencies: dependencies)
    }

    /// The answer to `request`, with every header but those of the transport.
    package func respond(to request: WebRequest) async -> WebResponse {
        var response: WebResponse
        do {
            try gate.admit(request)
            response = await route(request)
        } catch { response = Self.refusal(error, path: request.path) }
        for header in gate.headers(for: request) where response.header(header.name) == nil {
            response.headers.append(header)
        }
        if request.method == "HEAD" { response.body = [] }
        return response
    }

    /// The answer to a request that could not be read.
    package func refuse(_ refusal: WebRefusal, path: [String]) -> WebResponse {
        var response = Self.refusal(refusal, path: path)
        let request = WebRequest(method: "GET", path: path)
        response.headers += gate.headers(for: request)
        return response
    }

    /// In the form of the API that was asked.
    private static func refusal(_ refusal: WebRefusal, path: [String]) -> WebResponse {
        switch path.first {
        case "prometheus":
            let type =
                switch refusal.status {
                case 404: "not_found"
                case 403, 421: "forbidden"
                default: "bad_data"
                }
            return PrometheusEnvelope.failure(refusal.status, type, refusal.message)
        case "loki": return .text(refusal.message, status: refusal.status)
        default: return PetrelAPI.failure(refusal.status, refusal.message)
        }
    }

    private func route(_ request: WebRequest) async -> WebResponse {
        if request.method == "OPTIONS" { return WebResponse(status: 204) }
        guard ["GET", "HEAD", "POST"].contains(request.method) else {
            var response = Self.refusal(
                WebRefusal(405, "method \(request.method) is not allowed"), path: request.path)
            response.headers.append((name: "allow", value: "GET, HEAD, POST, OPTIONS"))
            return response
        }
        if let response = await surface(request) { return response }
        return Self.refusal(
            WebRefusal(404, "no such path: /" + request.path.joined(separator: "/")),
            path: request.path)
    }

    private func surface(_ request: WebRequest) async -> WebResponse? {
        var request = request
        if request.method == "HEAD" { request.method = "GET" }
        let path = request.path
        switch path.prefix(3) {
        case ["prometheus", "api", "v1"]:
            return await prometheus.respond(request, path: path.dropFirst(3))
        case ["loki", "api", "v1"] where path.dropFirst(3) == ["ready"]: return await readiness()
        case ["loki", "api", "v1"]: return await loki.respond(request, path: path.dropFirst(3))
        default: break
        }
        if path.prefix(2) == ["api", "v1"] {
            return await petrel.respond(request, path: path.dropFirst(2))
        }
        switch path {
        case []: return StartPage.response(version: dependencies.version)
        case ["petrel.css"]: return StartPage.style
        case ["healthz"]: return .text("ok\n")
        case ["ready"], ["readyz"]: return await readiness()
        case ["metrics"]:
            return WebResponse(
                contentType: ExpositionWriter.contentType,
                body: ExpositionWriter.text(await dependencies.ownMetrics()))
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
