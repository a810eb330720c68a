/// What apt's configuration files set, keys in lower case. Of a key that is set twice the last value counts.
///
/// Both forms are read, `A::B "x";` and `A { B "x"; };`, with `//`, `#` and `/* */` comments and `#clear`. Lists and
/// `#include` are not followed: nothing that is asked for stands in them. Source: apt.conf(5).
struct AptConfiguration {
    /// Scopes inside each other; a deeper one ends the file.
    static let depthMax = 32

    private var values: [String: String] = [:]

    subscript(key: String) -> String? { values[key.lowercased()] }

    /// Takes in one file. What is no configuration is left out, as much of it as it takes to go on.
    mutating func read(_ bytes: [UInt8]) {
        var scopes: [String] = []
        var words: [String] = []
        var scanner = Scanner(bytes)
        while let token = scanner.next() {
            switch token {
            case .word(let word): words.append(word)
            case .open:
                guard scopes.count < Self.depthMax else { return }
                scopes.append(words.first ?? "")
                words = []
            case .close:
                _ = scopes.popLast()
                words = []
            case .end:
                take(words, in: scopes)
                words = []
            }
        }
    }

    private mutating func take(_ words: [String], in scopes: [String]) {
        guard let first = words.first else { return }
        if first == "#clear" {
            for key in words.dropFirst().map({ $0.lowercased() }) {
                values = values.filter { $0.key != key && !$0.key.hasPrefix(key + "::") }
            }
            return
        }
        guard words.count == 2 else { return }
        values[(scopes + [first]).joined(separator: "::").lowercased()] = words[1]
    }

    private enum Token {
        case word(String)
        case open, close, end
    }

    private struct Scanner {
        let bytes: [UInt8]
        var index = 0

        init(_ bytes: [UInt8]) { self.bytes = bytes }

        private func has(_ text: StaticString) -> Bool {
            ProcText.hasPrefix(bytes[index...], text)
        }

        mutating func next() -> Token? {
            while index < bytes.count {
                let byte = bytes[index]
                switch byte {
                case 9, 10, 13, 32: index += 1
                case UInt8(ascii: "/") where has("//"): skipLine()
                case UInt8(ascii: "/") where has("/*"): skipBlock()
                case UInt8(ascii: "#") where !has("#clear"): skipLine()
                case UInt8(ascii: "{"): return single(.open)
                case UInt8(ascii: "}"): return single(.close)
                case UInt8(ascii: ";"): return single(.end)
                case UInt8(ascii: "\""): return quoted()
                default: return word()
                }
            }
            return nil
        }

        private mutating func single(_ token: Token) -> Token {
            index += 1
            return token
        }

        private mutating func skipLine() {
            index = bytes[index...].firstIndex(of: 10) ?? bytes.count
        }

        private mutating func skipBlock() {
            index += 2
            while index < bytes.count, !has("*/") { index += 1 }
            index = min(index + 2, bytes.count)
        }

        private mutating func quoted() -> Token {
            let start = index + 1
            let end = bytes[start...].firstIndex(of: UInt8(ascii: "\"")) ?? bytes.count
            index = min(end + 1, bytes.count)
            return .word(ProcText.string(bytes[start..<end]))
        }

        private mutating func word() -> Token {
            let start = index
            while index < bytes.count, !Self.ends.contains(bytes[index]) { index += 1 }
            return .word(ProcText.string(bytes[start..<index]))
        }

        private static let ends = Set("{};\" \t\r\n".utf8)
    }
}
