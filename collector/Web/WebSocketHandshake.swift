/// Whether a request opens a WebSocket. Source: RFC 6455, section 4.2.1.
enum WebSocketHandshake {
    /// Whether the client wants another protocol by that name.
    static func isWanted(_ request: WebRequest) -> Bool {
        tokens(request.headers["upgrade"]).contains("websocket")
            && tokens(request.headers["connection"]).contains("upgrade")
    }

    /// The answer to a request that should be a handshake and is none, or not one of ours; nil where it is.
    static func refusal(_ request: WebRequest) -> WebResponse? {
        guard request.method == "GET", isWanted(request) else {
            return .text(
                "this path is a WebSocket: the client is not using the websocket protocol: "
                    + "'upgrade' token not found in 'Connection' header", status: 400)
        }
        guard request.headers["sec-websocket-version"] == "13" else {
            var response = WebResponse.text(
                "unsupported version of the WebSocket protocol: 13 not found in "
                    + "'Sec-WebSocket-Version' header", status: 426)
            response.headers.append((name: "sec-websocket-version", value: "13"))
            return response
        }
        guard isKey(request.headers["sec-websocket-key"] ?? "") else {
            return .text(
                "'Sec-WebSocket-Key' header must be the Base64 encoding of 16 bytes", status: 400)
        }
        return nil
    }

    private static func isKey(_ key: String) -> Bool {
        key.utf8.count == 24 && key.hasSuffix("==")
            && key.utf8.dropLast(2).allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "+"), UInt8(ascii: "/"):
                    true
                default: false
                }
            }
    }

    private static func tokens(_ header: String?) -> [String] {
        (header ?? "").lowercased().split(separator: ",").map { token in
            String(token.filter { $0 != " " && $0 != "\t" })
        }
    }
}
