/// A request as the routes see it: framework-free, its body complete.
package struct WebRequest: Sendable {
    /// Upper-case.
    package var method: String
    /// Percent-decoded segments of the path.
    package var path: [String]
    /// Parameters of the URL, then of a form body: what both name, both give.
    package var parameters: FormParameters
    /// Names in lower case.
    package var headers: [String: String]
    package var body: [UInt8]

    package init(
        method: String, path: [String], parameters: FormParameters = FormParameters(),
        headers: [String: String] = [:], body: [UInt8] = []
    ) {
        self.method = method
        self.path = path
        self.parameters = parameters
        self.headers = headers
        self.body = body
    }
}

/// An answer: whole, or the beginning of a long one.
package struct WebResponse: Sendable {
    /// Up to so many bytes an answer in JSON is whole.
    static let wholeBytesMax = 256 << 10

    package var status: Int
    /// In the order sent; names in lower case.
    package var headers: [(name: String, value: String)]
    package var body: [UInt8]
    /// What follows `body`, made while it is sent; nil where `body` is all.
    package var rest: PiecewiseBody?
    /// Whether `rest`, with `body` before it, is compressed with gzip as it is sent.
    package var compressesRest = false
    /// What follows `body` for as long as the client stays: with the status 101 the messages of a WebSocket, otherwise
    /// more of the body.
    package var live: (any LiveBody)?

    package init(
        status: Int = 200, contentType: String? = nil, headers: [(String, String)] = [],
        body: [UInt8] = []
    ) {
        self.status = status
        self.headers = headers.map { (name: $0.0, value: $0.1) }
        if let contentType { self.headers.append((name: "content-type", value: contentType)) }
        self.body = body
    }

    static func json(_ writer: JSONWriter, status: Int = 200) -> WebResponse {
        WebResponse(status: status, contentType: "application/json", body: writer.bytes)
    }

    /// Whole where that is not more than `wholeBytesMax`, about.
    static func json(_ pieces: any JSONPieces) -> WebResponse {
        var response = WebResponse(contentType: "application/json")
        var rest = PiecewiseBody(pieces)
        while let piece = rest.next() {
            if response.body.isEmpty { response.body = piece } else { response.body += piece }
            guard response.body.count < wholeBytesMax else {
                response.rest = rest
                break
            }
        }
        return response
    }

    static func text(_ text: String, status: Int = 200) -> WebResponse {
        WebResponse(
            status: status, contentType: "text/plain; charset=utf-8", body: Array(text.utf8))
    }

    /// The first value of a header; nil where it is absent.
    package func header(_ name: String) -> String? {
        headers.first { $0.name == name }?.value
    }
}

/// A refusal before any route is asked.
package struct WebRefusal: Error, Hashable, Sendable {
    package var status: Int
    package var message: String
    /// Seconds after which who asks should try again.
    package var retryAfter: Int?

    package init(_ status: Int, _ message: String, retryAfter: Int? = nil) {
        self.status = status
        self.message = message
        self.retryAfter = retryAfter
    }
}
