/// What `|>` and `!>` match a whole line with: literal text and `<_>`, which stands for one byte or more.
///
/// Source: LogQL's documentation, "Pattern match filter operators".
struct LinePattern: Sendable {
    private enum Part {
        case literal(Needle)
        case gap
    }

    private let parts: [Part]

    init(_ pattern: [UInt8]) throws(LogQLError) {
        var parts: [Part] = []
        var literal: [UInt8] = []
        var rest = pattern[...]
        while let byte = rest.first {
            guard byte == UInt8(ascii: "<"), let name = Self.captureName(rest) else {
                literal.append(byte)
                rest.removeFirst()
                continue
            }
            let text = String(decoding: name, as: UTF8.self)
            guard text == "_" else {
                throw .badPattern("named captures are not allowed: found '<\(text)>'")
            }
            if !literal.isEmpty { parts.append(.literal(Needle(literal))) }
            literal = []
            if case .gap? = parts.last {
                throw .badPattern("found consecutive capture '<_><_>': invalid expression")
            }
            parts.append(.gap)
            rest.removeFirst(name.count + 2)
        }
        if !literal.isEmpty { parts.append(.literal(Needle(literal))) }
        self.parts = parts
    }

    /// Whether the pattern covers `line` from end to end. An empty pattern matches an empty line only.
    func matches(_ line: [UInt8]) -> Bool {
        guard !line.isEmpty, let last = parts.last else { return line.isEmpty && parts.isEmpty }
        var offset = 0
        for (index, part) in parts.enumerated() {
            guard case .literal(let literal) = part else { continue }
            guard let found = literal.firstIndex(in: line, from: offset) else {
                return false
            }
            // The first literal begins the line; each later one follows a gap of one byte or more.
            guard index == 0 ? found == 0 : found > offset else { return false }
            offset = found + literal.count
        }
        if case .gap = last { return offset < line.count }
        return offset == line.count
    }

    /// The name between `<` and `>` that `bytes` begins with; nil where it is no capture.
    private static func captureName(_ bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        let name = bytes.dropFirst().prefix {
            ($0 | 0x20 >= 97 && $0 | 0x20 <= 122) || $0 == 0x5f || ($0 >= 48 && $0 <= 57)
        }
        guard let first = name.first, !(48...57).contains(first), name.endIndex < bytes.endIndex,
            bytes[name.endIndex] == UInt8(ascii: ">")
        else { return nil }
        return name
    }
}
