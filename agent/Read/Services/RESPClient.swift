/// What Valkey or Redis answered to one command.
package enum RESPReply: Hashable, Sendable {
    /// A simple or a bulk string; any bytes.
    case text([UInt8])
    case integer(Int64)
    case null
    case array([RESPReply])
    /// The command failed; the connection goes on. `code` is the word in capitals that leads the server's message,
    /// empty where there is none.
    case failure(code: String, message: String)
}

extension RESPReply {
    /// The text, with U+FFFD for what is no UTF-8; nil for every other answer.
    var string: String? {
        guard case .text(let bytes) = self else { return nil }
        return String(decoding: bytes, as: UTF8.self)
    }

    var number: Int64? {
        guard case .integer(let value) = self else { return nil }
        return value
    }

    /// The items of an array; nil for every other answer.
    var items: [RESPReply]? {
        guard case .array(let items) = self else { return nil }
        return items
    }
}

/// Valkey's and Redis's protocol, version 2, over a connection with one deadline. After a thrown error it is of no use.
/// One thread at a time.
/// Source: redis.io "Redis serialization protocol specification".
package final class RESPClient {
    /// The bytes of all answers to one `ask`. INFO of a server with all commands in use is about 100 KiB.
    package static let answerBytesMax = 4 << 20
    /// The parts of all answers to one `ask`, those within parts included. Of a stream's group there are 13.
    package static let answerItemsMax = 65_536
    package static let depthMax = 8
    /// Room is made for so many parts before they come.
    private static let reservedItemsMax = 256
    private static let lineBytesMax = 64 * 1024
    private static let messageBytesMax = 256
    /// Commands that are on their way at once: the server has room for their answers.
    private static let pipelinedMax = 128

    private let socket: ServiceSocket
    private var bytesLeft = 0
    private var itemsLeft = 0

    package init(_ socket: ServiceSocket) { self.socket = socket }

    package var address: ServiceAddress { socket.address }

    /// What follows has `milliseconds` in all.
    package func extend(milliseconds: Int64) { socket.extend(milliseconds: milliseconds) }

    /// Sends `commands`, each a name and its arguments, and returns an answer for each in their order. A command that
    /// the server refuses is a `failure` among them. Throws `malformed` for what is no answer or past a bound.
    package func ask(_ commands: [[String]]) throws(ServiceError) -> [RESPReply] {
        bytesLeft = Self.answerBytesMax
        itemsLeft = Self.answerItemsMax
        var replies: [RESPReply] = []
        replies.reserveCapacity(commands.count)
        var start = 0
        while start < commands.count {
            let end = min(commands.count, start + Self.pipelinedMax)
            var request: [UInt8] = []
            for command in commands[start..<end] { Self.append(command, to: &request) }
            try socket.write(request)
            for _ in start..<end { replies.append(try reply(depth: 0)) }
            start = end
        }
        return replies
    }

    /// The answer to one command.
    package func ask(_ command: String...) throws(ServiceError) -> RESPReply {
        try ask([command]).first ?? .null
    }

    private static func append(_ command: [String], to request: inout [UInt8]) {
        request += "*\(command.count)\r\n".utf8
        for word in command {
            request += "$\(word.utf8.count)\r\n".utf8
            request += word.utf8
            request += [13, 10]
        }
    }

    private func malformed(_ detail: String) -> ServiceError {
        .malformed(socket.address, detail: detail)
    }

    private func reply(depth: Int) throws(ServiceError) -> RESPReply {
        let line = try socket.line(bytesMax: Self.lineBytesMax)
        bytesLeft -= line.count
        itemsLeft -= 1
        guard bytesLeft >= 0, itemsLeft >= 0 else { throw malformed("too large an answer") }
        guard let kind = line.first else { throw malformed("an empty line for an answer") }
        let rest = line.dropFirst()
        switch kind {
        case UInt8(ascii: "+"): return .text(Array(rest))
        case UInt8(ascii: "-"): return Self.failure(rest)
        case UInt8(ascii: ":"): return .integer(try integer(rest))
        case UInt8(ascii: "$"): return try bulk(try integer(rest))
        case UInt8(ascii: "*"): return try array(try integer(rest), depth: depth)
        default: throw malformed("no answer of Valkey's or Redis's protocol")
        }
    }

    private func integer(_ text: ArraySlice<UInt8>) throws(ServiceError) -> Int64 {
        guard let value = Int64(ProcText.string(text)) else { throw malformed("no number") }
        return value
    }

    private func bulk(_ count: Int64) throws(ServiceError) -> RESPReply {
        guard count >= 0 else { return .null }
        guard count <= bytesLeft else { throw malformed("an answer of \(count) bytes") }
        bytesLeft -= Int(count)
        let bytes = try socket.bytes(Int(count))
        guard try socket.bytes(2) == [13, 10] else { throw malformed("no end of a string") }
        return .text(bytes)
    }

    private func array(_ count: Int64, depth: Int) throws(ServiceError) -> RESPReply {
        guard count >= 0 else { return .null }
        guard count <= itemsLeft, depth < Self.depthMax else {
            throw malformed("an answer of \(count) parts, \(depth) levels deep")
        }
        var items: [RESPReply] = []
        items.reserveCapacity(min(Int(count), Self.reservedItemsMax))
        for _ in 0..<count { items.append(try reply(depth: depth + 1)) }
        return .array(items)
    }

    private static func failure(_ text: ArraySlice<UInt8>) -> RESPReply {
        let message = text.prefix(messageBytesMax)
        let word = message.prefix { $0 != 32 }
        let isCode = !word.isEmpty && word.allSatisfy { (65...90).contains($0) }
        guard isCode else { return .failure(code: "", message: ProcText.string(message)) }
        return .failure(
            code: ProcText.string(word),
            message: ProcText.string(ProcText.trimmed(message.dropFirst(word.count))))
    }
}
