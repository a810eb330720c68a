import Gzip

/// Compresses answers for who takes gzip. Source: RFC 9110, sections 8.4 and 12.5.3.
enum ResponseCompression {
    /// Shorter bodies are sent as they are: they fit in a packet or two.
    static let bytesMin = 1024

    static func compress(_ response: inout WebResponse, for request: WebRequest) {
        guard response.body.count >= bytesMin, response.header("content-encoding") == nil else {
            return
        }
        response.headers.append((name: "vary", value: "Accept-Encoding"))
        guard accepts(request.headers["accept-encoding"] ?? "") else { return }
        if response.rest != nil {
            response.compressesRest = true
        } else {
            // A body of more than 4 GiB is none of ours; what zlib refuses goes as it is.
            guard let body = try? Gzip.compress(response.body) else { return }
            response.body = body
        }
        response.headers.append((name: "content-encoding", value: "gzip"))
    }

    /// Whether a client's `Accept-Encoding` has gzip, or everything, with a weight above 0.
    static func accepts(_ header: String) -> Bool {
        var takesAny = false
        for element in header.lowercased().split(separator: ",") {
            let parts = element.split(separator: ";").map { part in
                part.filter { $0 != " " && $0 != "\t" }
            }
            guard let name = parts.first, ["gzip", "x-gzip", "*"].contains(name) else { continue }
            let weight = parts.dropFirst().first { $0.hasPrefix("q=") }
                .flatMap { Double($0.dropFirst(2)) }
            let isTaken = weight.map { $0 > 0 } ?? true
            if name != "*" { return isTaken }
            takesAny = isTaken
        }
        return takesAny
    }
}
