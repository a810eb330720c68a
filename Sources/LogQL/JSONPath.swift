/// Where a value is in JSON: `servers[0].name`, `request["user-agent"]`. Source: Loki 3.6 `jsonexpr`, by its tests.
struct JSONPath: Hashable, Sendable {
    enum Step: Hashable, Sendable {
        case field([UInt8])
        case index(Int)
    }

    static let stepsMax = JSONBytes.depthMax

    let steps: [Step]

    private enum Token: Equatable {
        case dot, open, close, end
        case string([UInt8])
        case field([UInt8])
        case index(Int)

        /// As the grammar of Loki's errors has it.
        var name: String {
            switch self {
            case .dot: "DOT"
            case .open: "LSB"
            case .close: "RSB"
            case .string: "STRING"
            case .field: "FIELD"
            case .index: "INDEX"
            case .end: "$end"
            }
        }
    }

    /// Throws what is wrong with `text`, in Loki's words.
    init(_ text: String) throws(StageFault) {
        var lexer = PathLexer(text)
        var steps: [Step] = []
        var token = Self.next(&lexer)
        while token != .end {
            guard steps.count < Self.stepsMax else {
                throw StageFault("more than \(Self.stepsMax) steps")
            }
            if token == .open {
                token = Self.next(&lexer)
                switch token {
                case .string(let name): steps.append(.field(name))
                case .index(let place): steps.append(.index(place))
                default: throw Self.unexpected(token, "STRING or INDEX")
                }
                token = Self.next(&lexer)
                guard token == .close else { throw Self.unexpected(token, "RSB") }
            } else {
                if !steps.isEmpty {
                    guard token == .dot else { throw Self.unexpected(token, nil) }
                    token = Self.next(&lexer)
                }
                guard case .field(let name) = token else {
                    throw Self.unexpected(token, steps.isEmpty ? "LSB or FIELD" : "FIELD")
                }
                steps.append(.field(name))
            }
            token = Self.next(&lexer)
        }
        guard !steps.isEmpty else { throw Self.unexpected(.end, "LSB or FIELD") }
        if let fault = lexer.fault { throw fault }
        self.steps = steps
    }

    private static func unexpected(_ token: Token, _ expected: String?) -> StageFault {
        StageFault(
            "syntax error: unexpected \(token.name)"
                + (expected.map { ", expecting \($0)" } ?? ""))
    }

    /// What is no token ends the path; that is said where a path may end there.
    private static func next(_ lexer: inout PathLexer) -> Token {
        guard let scalar = lexer.skipBlanks() else { return .end }
        switch scalar {
        case ".": return lexer.dropping(.dot)
        case "[": return lexer.dropping(.open)
        case "]": return lexer.dropping(.close)
        case "\"": return .string(Array(lexer.string().utf8))
        case "0"..."9":
            let digits = lexer.take { ("0"..."9").contains($0) }
            // Digits end with a blank or the bracket alone.
            guard let place = Int(digits), let next = lexer.next,
                next == "]" || PathLexer.isBlank(next)
            else { return .end }
            return .index(place)
        default:
            guard PathLexer.isFieldStart(scalar) else {
                lexer.fault = StageFault("unexpected char \(scalar)")
                return .end
            }
            return .field(Array(lexer.take(PathLexer.isField).utf8))
        }
    }
}

/// The key of `logfmt label="key"`: a word, or any text in quotes. Source: Loki 3.6 `logfmtexpr`, by its tests.
struct LogfmtKey: Hashable, Sendable {
    let bytes: [UInt8]

    /// Throws what is wrong with `text`, in Loki's words.
    init(_ text: String) throws(StageFault) {
        var lexer = PathLexer(text)
        guard let scalar = lexer.skipBlanks() else {
            throw StageFault("syntax error: unexpected $end, expecting STRING or KEY")
        }
        guard scalar == "\"" || PathLexer.isFieldStart(scalar) else {
            throw StageFault("syntax error: unexpected $end, expecting STRING or KEY")
        }
        let key = scalar == "\"" ? lexer.string() : lexer.take(PathLexer.isField)
        if let rest = lexer.skipBlanks() {
            guard PathLexer.isFieldStart(rest) || rest == "\"" else {
                throw StageFault("unexpected char \(rest)")
            }
            throw StageFault("syntax error: unexpected \(rest == "\"" ? "STRING" : "KEY")")
        }
        bytes = Array(key.utf8)
    }
}

private struct PathLexer {
    private var rest: ArraySlice<Unicode.Scalar>
    /// What was found to be no token.
    var fault: StageFault?

    init(_ text: String) { rest = Array(text.unicodeScalars)[...] }

    static func isFieldStart(_ scalar: Unicode.Scalar) -> Bool {
        scalar == "_" || (scalar.isASCII && (65...90).contains(scalar.value & 0xdf))
    }

    static func isField(_ scalar: Unicode.Scalar) -> Bool {
        isFieldStart(scalar) || ("0"..."9").contains(scalar)
    }

    static func isBlank(_ scalar: Unicode.Scalar) -> Bool {
        scalar == " " || scalar == "\t" || scalar == "\n"
    }

    var next: Unicode.Scalar? { rest.first }

    mutating func skipBlanks() -> Unicode.Scalar? {
        while let scalar = rest.first, Self.isBlank(scalar) { rest.removeFirst() }
        return rest.first
    }

    /// `token`, and its character is passed.
    mutating func dropping<Token>(_ token: Token) -> Token {
        rest.removeFirst()
        return token
    }

    mutating func take(_ isTaken: (Unicode.Scalar) -> Bool) -> String {
        var text = String.UnicodeScalarView()
        while let scalar = rest.first, isTaken(scalar) {
            text.append(scalar)
            rest.removeFirst()
        }
        return String(text)
    }

    /// A text in double quotes; a bracket ends it too, and so does the end.
    mutating func string() -> String {
        rest.removeFirst()
        let text = take { $0 != "\"" && $0 != "]" }
        _ = rest.popFirst()
        return text
    }
}
