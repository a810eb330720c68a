/// Why a scrape failed. Its target is down for it: `up` is 0 and what it had before ends.
package enum ScrapeFailure: Error, Hashable, Sendable, CustomStringConvertible {
    /// A file of the configuration, or the name of the host, can't be read.
    case preparation(String)
    case connection(String)
    case tls(String)
    case timeout(seconds: Double)
    /// The answer is no HTTP.
    case malformed(String)
    case status(code: Int, reason: String)
    /// The answer is a redirect that can't be followed.
    case redirect(String)
    case contentType(String)
    case contentEncoding(String)
    /// The body has more bytes than its target may send.
    case bodyTooLarge(max: Int)
    /// The bodies of all targets have more bytes than the agent holds at once.
    case bodiesTooLarge(max: Int)
    /// The body is no exposition.
    case exposition(String)
    case sampleLimit(max: Int)
    case labelLimit(String)
    /// The targets together have more series than the agent remembers.
    case seriesTotal(max: Int)
    case cancelled

    /// The label `reason` of `petrel_agent_scrape_failures_total`.
    package var reason: String {
        switch self {
        case .preparation: "preparation"
        case .connection: "connection"
        case .tls: "tls"
        case .timeout: "timeout"
        case .malformed: "malformed"
        case .status: "status"
        case .redirect: "redirect"
        case .contentType: "content_type"
        case .contentEncoding: "content_encoding"
        case .bodyTooLarge: "body_size_limit"
        case .bodiesTooLarge: "bodies_total"
        case .exposition: "exposition"
        case .sampleLimit: "sample_limit"
        case .labelLimit: "label_limit"
        case .seriesTotal: "series_total"
        case .cancelled: "cancelled"
        }
    }

    package var description: String {
        switch self {
        case .preparation(let detail): detail
        case .connection(let detail): "the connection failed: \(detail)"
        case .tls(let detail): "TLS failed: \(detail); see tls_config"
        case .timeout(let seconds): "no whole answer within scrape_timeout, \(seconds) s"
        case .malformed(let detail): "the answer is no HTTP/1.1: \(detail)"
        case .status(let code, let reason): "the target answered HTTP status \(code) \(reason)"
        case .redirect(let detail): "the target's redirect can't be followed: \(detail)"
        case .contentType(let type):
            "the answer has the Content-Type '\(type)', which is no text format of metrics: "
                + "set fallback_scrape_protocol where it is one all the same"
        case .contentEncoding(let name):
            "the answer has the Content-Encoding '\(name)', and gzip alone was asked for"
        case .bodyTooLarge(let max): "the body has more than \(max) bytes; see body_size_limit"
        case .bodiesTooLarge(let max):
            "the bodies of all targets have more than \(max) bytes at once; spread them over time"
        case .exposition(let detail): "the body is no exposition: \(detail)"
        case .sampleLimit(let max): "more than \(max) samples; see sample_limit"
        case .labelLimit(let detail): detail
        case .seriesTotal(let max):
            "the targets of this agent have more than \(max) series together: drop some with "
                + "metric_relabel_configs"
        case .cancelled: "the agent stops"
        }
    }
}
