/// The answer of an HTTP/1.1 server that closes its connection behind it.
/// Source: RFC 9112 sections 4, 5, 6.3 and 7.1.
package struct HTTPAnswer: Hashable, Sendable {
    private static let headBytesMax = 64 * 1024

    /// 100 to 999.
    package var status: Int
    /// Without the framing of its chunks.
    package var body: [UInt8]

    /// Reads all that came until the connection was closed; `address` is for the errors alone. Throws `malformed`, also
    /// where the body is shorter than its head or its chunks say.
    package init(_ bytes: [UInt8], from address: ServiceAddress) throws(ServiceError) {
        var lines = HTTPLines(bytes: bytes)
        guard let first = lines.next(), let code = Self.status(first) else {
            throw .malformed(address, detail: "no HTTP status line")
        }
        var length: Int?
        var isChunked = false
        while true {
            guard let line = lines.next(), lines.at <= Self.headBytesMax else {
                throw .malformed(address, detail: "an HTTP head that does not end")
            }
            guard !line.isEmpty else { break }
            guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else { continue }
            let value = ProcText.trimmed(line[(colon + 1)...])
            switch Self.lowercased(line[..<colon]) {
            case "content-length":
                guard let count = ProcText.unsigned(value).flatMap({ Int(exactly: $0) }) else {
                    throw .malformed(address, detail: "an HTTP length that is no number")
                }
                length = count
            case "transfer-encoding": isChunked = Self.lowercased(value) == "chunked"
            default: continue
            }
        }
        status = code
        if isChunked {
            guard let whole = Self.unchunked(&lines) else {
                throw .malformed(address, detail: "an HTTP body whose chunks do not end")
            }
            body = whole
        } else if let length {
            guard bytes.count - lines.at >= length else {
                throw .malformed(address, detail: "an HTTP body that is cut short")
            }
            body = Array(bytes[lines.at..<(lines.at + length)])
        } else {
            body = Array(bytes[lines.at...])
        }
    }

    /// `HTTP/1.x NNN reason`
    private static func status(_ line: ArraySlice<UInt8>) -> Int? {
        let parts = line.split(separator: 32, maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count >= 2, ProcText.hasPrefix(parts[0], "HTTP/1."), parts[1].count == 3,
            let code = ProcText.unsigned(parts[1]), code >= 100
        else { return nil }
        return Int(code)
    }

    private static func unchunked(_ lines: inout HTTPLines) -> [UInt8]? {
        var body: [UInt8] = []
        while let line = lines.next() {
            let digits = ProcText.trimmed(line.prefix { $0 != UInt8(ascii: ";") })
            guard !digits.isEmpty, digits.count <= 8,
                let size = Int(ProcText.string(digits), radix: 16), size >= 0
            else { return nil }
            guard size > 0 else { return body }
            guard let chunk = lines.take(size) else { return nil }
            body += chunk
            guard let end = lines.next(), end.isEmpty else { return nil }
        }
        return nil
    }

    private static func lowercased(_ bytes: ArraySlice<UInt8>) -> String {
        String(decoding: bytes.map { (65...90).contains($0) ? $0 | 32 : $0 }, as: UTF8.self)
    }
}

/// Bytes as lines and as pieces.
private struct HTTPLines {
    let bytes: [UInt8]
    /// What was used so far; at most `bytes.count`.
    private(set) var at = 0

    init(bytes: [UInt8]) { self.bytes = bytes }

    /// The next line without its CR LF or LF; nil where none ends.
    mutating func next() -> ArraySlice<UInt8>? {
        guard let end = bytes[at...].firstIndex(of: 10) else { return nil }
        var line = bytes[at..<end]
        if line.last == 13 { line.removeLast() }
        at = end + 1
        return line
    }

    mutating func take(_ count: Int) -> ArraySlice<UInt8>? {
        guard bytes.count - at >= count else { return nil }
        defer { at += count }
        return bytes[at..<(at + count)]
    }
}
