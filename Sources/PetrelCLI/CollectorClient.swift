import ArgumentParser
import AsyncHTTPClient
import FoundationEssentials
import Glibc
import NIOCore
import NIOHTTP1

/// Where the collector is.
struct CollectorOptions: ParsableArguments {
    @Option(
        help: "The collector's HTTP address; also by the environment variable PETREL_URL.")
    var url: String = getenv("PETREL_URL").map { String(cString: $0) } ?? "http://127.0.0.1:9600"

    @Flag(help: "Print the API's answer as it is.")
    var json = false

    func validate() throws {
        guard url.hasPrefix("http://") || url.hasPrefix("https://") else {
            throw ValidationError("--url must begin with http:// or https://")
        }
    }
}

/// A connection that ended, or was not to be had, and may be later.
struct ConnectionLost: Error {
    var text: String
}

/// Asks the collector's HTTP API.
struct CollectorClient {
    /// Longest answer, bytes.
    static let answerBytesMax = 256 << 20
    /// Longest wait for an answer.
    static let timeout = TimeAmount.seconds(150)

    let options: CollectorOptions

    /// The body of a 200 answer. Throws `CommandFailure` with what to do.
    func get(
        _ path: String, _ parameters: [(String, String)] = [],
        headers: [(String, String)] = []
    ) async throws -> [UInt8] {
        let query = Self.encoded(parameters)
        var request = HTTPClientRequest(url: base + path + (query.isEmpty ? "" : "?" + query))
        for (name, value) in headers { request.headers.add(name: name, value: value) }
        return try await execute(request)
    }

    /// Hands over the body of a 200 answer piece by piece, until it ends. Throws `CommandFailure` for what another try does
    /// not mend, `ConnectionLost` for the rest, the end among it, and what `body` throws.
    func stream(
        _ path: String, _ parameters: [(String, String)],
        _ body: (ByteBufferView) async throws -> Void
    ) async throws -> Never {
        let query = Self.encoded(parameters)
        var configuration = HTTPClient.Configuration()
        configuration.timeout.connect = .seconds(10)
        // The collector gives a sign of life every ten seconds, but not while it reads what was before.
        configuration.timeout.read = Self.timeout
        let client = HTTPClient(
            eventLoopGroupProvider: .singleton, configuration: configuration)
        let end: any Error
        do {
            try await stream(client, HTTPClientRequest(url: base + path + "?" + query), body)
        } catch { end = error }
        try? await client.shutdown()
        throw end
    }

    private func stream(
        _ client: HTTPClient, _ request: HTTPClientRequest,
        _ body: (ByteBufferView) async throws -> Void
    ) async throws -> Never {
        let response: HTTPClientResponse
        do {
            response = try await client.execute(request, deadline: .distantFuture)
        } catch let error as HTTPClientError where error == .invalidURL {
            throw CommandFailure("--url \(shownURL) is not a URL")
        } catch { throw ConnectionLost(text: unreachable) }
        guard response.status == .ok else {
            let text = try? await response.body.collect(upTo: 1 << 20)
            let message = Self.message(Array(buffer: text ?? ByteBuffer()))
            // A collector that starts, or whose places are taken, answers later.
            guard [429, 502, 503, 504].contains(response.status.code) else {
                throw CommandFailure("\(message) (HTTP \(response.status.code))")
            }
            throw ConnectionLost(text: message)
        }
        var pieces = response.body.makeAsyncIterator()
        while true {
            let piece: ByteBuffer?
            do { piece = try await pieces.next() } catch {
                throw ConnectionLost(text: "the connection to \(shownURL) broke")
            }
            guard let piece else {
                throw ConnectionLost(text: "the collector at \(shownURL) ended the answer")
            }
            try await body(piece.readableBytesView)
        }
    }

    /// The body of the 200 answer to a form.
    func post(_ path: String, _ parameters: [(String, String)]) async throws -> [UInt8] {
        var request = HTTPClientRequest(url: base + path)
        request.method = .POST
        request.headers.add(
            name: "content-type", value: "application/x-www-form-urlencoded")
        let form = Self.encoded(parameters)
        request.body = .bytes(Array(form.utf8))
        return try await execute(request)
    }

    /// An answer as `type`, or printed as it is and nil with `--json`.
    func decode<Answer: Decodable>(_ type: Answer.Type, _ body: [UInt8]) throws -> Answer? {
        if options.json {
            print(String(decoding: body, as: UTF8.self))
            return nil
        }
        return try parse(type, body)
    }

    /// An answer as `type`.
    func parse<Answer: Decodable>(_ type: Answer.Type, _ body: [UInt8]) throws -> Answer {
        do { return try JSONDecoder().decode(type, from: Data(body)) } catch {
            throw CommandFailure(
                "the answer of \(shownURL) is not one of a Petrel collector; check --url")
        }
    }

    private var base: String {
        options.url.hasSuffix("/") ? String(options.url.dropLast()) : options.url
    }

    /// Without a user name and password that may stand in it.
    private var shownURL: String {
        guard let at = base.lastIndex(of: "@"), let scheme = base.firstRange(of: "://") else {
            return base
        }
        return String(base[..<scheme.upperBound] + base[base.index(after: at)...])
    }

    private var unreachable: String {
        "can't reach a collector at \(shownURL): is petrel-collector running there? "
            + "Name another with --url or PETREL_URL"
    }

    private func execute(_ request: HTTPClientRequest) async throws -> [UInt8] {
        let client = HTTPClient(eventLoopGroupProvider: .singleton)
        let outcome: Result<(UInt, [UInt8]), any Error>
        do {
            let response = try await client.execute(request, timeout: Self.timeout)
            let body = try await response.body.collect(upTo: Self.answerBytesMax)
            outcome = .success((response.status.code, Array(buffer: body)))
        } catch { outcome = .failure(error) }
        try? await client.shutdown()
        switch outcome {
        case .success((200, let body)): return body
        case .success((let status, let body)):
            throw CommandFailure("\(Self.message(body)) (HTTP \(status))")
        case .failure(let error as HTTPClientError) where error == .readTimeout:
            throw CommandFailure("\(shownURL) did not answer in time")
        case .failure(let error as HTTPClientError) where error == .invalidURL:
            throw CommandFailure("--url \(shownURL) is not a URL")
        case .failure:
            throw CommandFailure(unreachable)
        }
    }

    /// What an error's body says: the member `error` of a JSON object, or the first line.
    private static func message(_ body: [UInt8]) -> String {
        struct Failure: Decodable {
            var error: String
        }
        if let failure = try? JSONDecoder().decode(Failure.self, from: Data(body)) {
            return failure.error
        }
        let line =
            String(decoding: body.prefix(2000), as: UTF8.self)
            .split(separator: "\n").first ?? ""
        return line.isEmpty ? "the collector refused without saying why" : String(line)
    }

    /// `a=b&c=d`, percent-encoded.
    private static func encoded(_ parameters: [(String, String)]) -> String {
        parameters.map { "\(encoded($0.0))=\(encoded($0.1))" }.joined(separator: "&")
    }

    /// Percent-encodes everything but unreserved characters. Source: RFC 3986, section 2.3.
    static func encoded(_ text: String) -> String {
        var encoded = ""
        for byte in text.utf8 {
            let isUnreserved =
                (byte | 0x20 >= 97 && byte | 0x20 <= 122) || (48...57).contains(byte)
                || [0x2d, 0x2e, 0x5f, 0x7e].contains(byte)
            if isUnreserved {
                encoded.unicodeScalars.append(Unicode.Scalar(byte))
            } else {
                encoded += "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
            }
        }
        return encoded
    }
}
