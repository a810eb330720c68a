/// A message of PostgreSQL's protocol 3 as it comes: a kind and its bytes, of which every read is checked.
///
///     kind (1)  length (4, big endian, itself counted)  body
///
/// Source: PostgreSQL 18 "Frontend/Backend Protocol", "Message Formats".
struct PostgresMessage {
    /// The ASCII letter.
    let kind: UInt8
    private var rest: ArraySlice<UInt8>

    init(kind: UInt8, body: [UInt8]) {
        self.kind = kind
        rest = body[...]
    }

    var isAtEnd: Bool { rest.isEmpty }

    mutating func byte() -> UInt8? { rest.popFirst() }

    mutating func int16() -> Int? {
        bytes(2).map { Int(Int16(truncatingIfNeeded: Self.unsigned($0))) }
    }

    mutating func int32() -> Int? {
        bytes(4).map { Int(Int32(truncatingIfNeeded: Self.unsigned($0))) }
    }

    /// The next `count` bytes; nil where there are fewer.
    mutating func bytes(_ count: Int) -> ArraySlice<UInt8>? {
        guard count >= 0, count <= rest.count else { return nil }
        defer { rest = rest.dropFirst(count) }
        return rest.prefix(count)
    }

    /// The bytes up to a zero byte, which is passed; nil where there is none.
    mutating func text() -> String? {
        guard let end = rest.firstIndex(of: 0) else { return nil }
        defer { rest = rest[(end + 1)...] }
        return ProcText.string(rest[..<end])
    }

    /// All that is left.
    mutating func remainder() -> [UInt8] {
        defer { rest = [] }
        return Array(rest)
    }

    private static func unsigned(_ bytes: ArraySlice<UInt8>) -> UInt32 {
        bytes.reduce(0) { $0 << 8 | UInt32($1) }
    }
}

extension PostgresMessage {
    /// The names of the columns; nil where the message is malformed.
    mutating func columns() -> [String]? {
        guard let count = int16(), count >= 0 else { return nil }
        var names: [String] = []
        for _ in 0..<count {
            // Table, column, type, its size, its modifier, the format.
            guard let name = text(), bytes(4 + 2 + 4 + 2 + 4 + 2) != nil else { return nil }
            names.append(name)
        }
        return isAtEnd ? names : nil
    }

    /// The texts of a row of `columnCount` columns; nil where the message is malformed.
    mutating func row(columnCount: Int) -> [String?]? {
        guard int16() == columnCount else { return nil }
        var values: [String?] = []
        values.reserveCapacity(columnCount)
        for _ in 0..<columnCount {
            guard let count = int32() else { return nil }
            if count == -1 {
                values.append(nil)
            } else {
                guard let value = bytes(count) else { return nil }
                values.append(ProcText.string(value))
            }
        }
        return isAtEnd ? values : nil
    }

    /// The SQLSTATE and the text of an error; nil where the message is malformed.
    mutating func failure() -> (code: String, text: String)? {
        var code = ""
        var message = ""
        while let field = byte() {
            guard field != 0 else { return isAtEnd ? (code, message) : nil }
            guard let value = text() else { return nil }
            if field == UInt8(ascii: "C") { code = String(value.prefix(8)) }
            if field == UInt8(ascii: "M") { message = String(value.prefix(Self.failureTextMax)) }
        }
        return nil
    }

    /// Characters of an error's text that are kept.
    private static let failureTextMax = 500
}

extension PostgresMessage {
    /// The bytes of a message to the server.
    static func encoded(kind: Unicode.Scalar?, _ body: [UInt8]) -> [UInt8] {
        var bytes: [UInt8] = kind.map { [UInt8(ascii: $0)] } ?? []
        append(UInt32(truncatingIfNeeded: body.count + 4), to: &bytes)
        return bytes + body
    }

    /// A message of texts, each with a zero byte behind it.
    static func encoded(kind: Unicode.Scalar?, texts: [String]) -> [UInt8] {
        encoded(kind: kind, texts.flatMap { Array($0.utf8) + [0] })
    }

    static func append(_ number: UInt32, to bytes: inout [UInt8]) {
        for shift: UInt32 in [24, 16, 8, 0] {
            bytes.append(UInt8(truncatingIfNeeded: number >> shift))
        }
    }
}
