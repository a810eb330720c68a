import AgentHelper
import Testing

@Suite("Docker request")
struct DockerRequestTests {
    @Test(
        "what is forwarded, and as what",
        arguments: [
            ("/_ping", "/_ping"), ("/v1.43/_ping", "/v1.43/_ping"), ("/info", "/info"),
            ("/v1.44/info?", "/v1.44/info"),
            ("/containers/json", "/containers/json"),
            ("/containers/json?all=true", "/containers/json?all=1"),
            ("/containers/json?all=0", "/containers/json?all=0"),
            (
                "/v1.43/containers/json?all=1&filters=%7B%22name%22%3A%5B%22web%22%5D%7D",
                "/v1.43/containers/json?all=1&filters=%7B%22name%22%3A%5B%22web%22%5D%7D"
            ),
            (
                "/containers/json?filters={\"status\":{\"running\":true},\"label\":[\"a=b\"]}",
                "/containers/json?filters=%7B%22label%22%3A%5B%22a%3Db%22%5D%2C%22status%22%3A%5B%22running%22%5D%7D"
            ),
            ("/containers/web-1.a_b/json", "/containers/web-1.a_b/json"),
            ("/v1.40/containers/4fa6e0f0c678/json", "/v1.40/containers/4fa6e0f0c678/json"),
            ("/events", "/events?filters=%7B%22type%22%3A%5B%22container%22%5D%7D"),
            (
                "/events?since=1700000000.123&until=1700000001",
                "/events?since=1700000000.123&until=1700000001&filters=%7B%22type%22%3A%5B%22container%22%5D%7D"
            ),
            (
                "/events?filters={\"event\":[\"die\"]}",
                "/events?filters=%7B%22event%22%3A%5B%22die%22%5D%2C%22type%22%3A%5B%22container%22%5D%7D"
            ),
            (
                "/events?filters={\"event\":[\"health_status:%20healthy\",\"exec_create\"]}",
                "/events?filters=%7B%22event%22%3A%5B%22health_status%3A%20healthy%22%2C%22exec_create%22%5D%2C%22type%22%3A%5B%22container%22%5D%7D"
            ),
        ])
    func forwarded(target: String, upstream: String) throws {
        #expect(try DockerRequest(method: "GET", target: target).target == upstream)
    }

    @Test(
        "methods but GET",
        arguments: [
            "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS", "CONNECT", "TRACE", "get", "",
        ])
    func methods(method: String) {
        #expect(throws: DockerRefusal.method(method)) {
            try DockerRequest(method: method, target: "/info")
        }
    }

    @Test(
        "paths that are not forwarded",
        arguments: [
            "", "/", "*", "info", "//info", "/info/", "/Info", "/v1.43", "/v1.43/", "/v2.0/info",
            "/v1./info", "/v1.4x/info", "/v1.1234/info", "/v1.43/v1.43/info", "/version",
            "/images/json", "/containers/create", "/containers/json/", "/containers//json",
            "/containers/x/start", "/containers/x/archive", "/containers/x/logs",
            "/containers/x/exec", "/containers/x/attach/ws", "/containers/x/export",
            "/containers/../json", "/containers/..%2f..%2fimages/json", "/containers/a%00b/json",
            "/containers/a b/json", "/containers/a/b/json", "/containers/.hidden/json",
            "/containers/-x/json", "/containers/é/json", "/exec/x/start", "/secrets", "/volumes",
            "/plugins", "/session", "/grpc", "/build", "/auth", "http://docker/info", "/info#x",
            "/info%3f", "/%69nfo", "/containers/json/json/json", "/_ping/x", "/events/x",
            "/system/df", "/swarm",
            "/containers/\(String(repeating: "a", count: 256))/json",
        ])
    func paths(path: String) {
        #expect(throws: DockerRefusal.path) { try DockerRequest(method: "GET", target: path) }
    }

    @Test(
        "parameters that are not forwarded",
        arguments: [
            ("/info?x=1", "x"), ("/_ping?all=1", "all"), ("/containers/x/json?size=1", "size"),
            ("/containers/json?size=1", "size"), ("/containers/json?limit=1", "limit"),
            ("/containers/json?all=1&all=0", "all"), ("/containers/json?all=2", "all"),
            ("/containers/json?all", "all"), ("/containers/json?%zz=1", "?"),
            ("/containers/json?filters=%ff", "filters"),
            ("/containers/json?filters=", "filters"), ("/containers/json?filters=[]", "filters"),
            ("/containers/json?filters={\"volume\":[\"x\"]}", "filters"),
            ("/containers/json?filters={\"name\":\"x\"}", "filters"),
            ("/containers/json?filters={\"name\":[1]}", "filters"),
            ("/containers/json?filters={\"name\":{\"x\":false}}", "filters"),
            ("/containers/json?filters={\"name\":[\"a\"],\"name\":[\"b\"]}", "filters"),
            ("/containers/json?filters={\"name\":[\"x\"]}x", "filters"),
            ("/containers/json?filters={\"label\":[\"api_token=guess\"]}", "filters"),
            ("/events?filters={\"type\":[\"network\"]}", "filters"),
            ("/events?filters={\"type\":[\"container\",\"network\"]}", "filters"),
            ("/events?filters={\"type\":[]}", "filters"),
            ("/events?filters={\"label\":[\"x\"]}", "filters"),
            // Docker would compare prefixes: these ask for the letters of a command line.
            (
                "/events?filters={\"event\":[\"health_status\",\"exec_create:%20sh%20-c%20a\"]}",
                "filters"
            ),
            ("/events?filters={\"event\":[\"exec_start:%20a\"]}", "filters"),
            ("/events?filters={\"event\":[\"exec_create:\"]}", "filters"),
            ("/events?filters={\"event\":[\"health_status:%20h\"]}", "filters"),
            ("/events?filters={\"event\":[\"\"]}", "filters"),
            ("/events?since=yesterday", "since"), ("/events?since=1.2.3", "since"),
            ("/events?since=-1", "since"), ("/events?until=1.", "until"),
            ("/events?until=1%0d%0aX", "until"), ("/events?stream=1", "stream"),
        ])
    func parameters(target: String, name: String) {
        let refusal = #expect(throws: DockerRefusal.self) {
            try DockerRequest(method: "GET", target: target)
        }
        guard case .parameter(let found, _) = refusal else {
            Issue.record("\(target): \(String(describing: refusal))")
            return
        }
        #expect(found == name)
    }

    @Test("a long target is refused")
    func long() {
        let target = "/containers/json?filters=" + String(repeating: "a", count: 4096)
        #expect(throws: DockerRefusal.targetTooLong) {
            try DockerRequest(method: "GET", target: target)
        }
    }

    @Test("a refusal says what is allowed, with its status")
    func messages() {
        let table: [(DockerRefusal, Int)] = [
            (.method("POST"), 405), (.path, 403), (.upgrade, 403), (.body, 400),
        ]
        for (refusal, status) in table {
            #expect(refusal.status == status)
            #expect(refusal.message.contains("only GET of /_ping, /info, /containers/json"))
        }
        #expect(DockerRefusal.targetTooLong.status == 414)
    }
}
