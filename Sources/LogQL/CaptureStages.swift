import LinearRegex
import LogQLSyntax

/// `regexp "(?P<name>…)"`: the named groups of the first match become labels; of a group that took no part the value is
/// empty. A line that does not match stays as it is. Source: Loki 3.6 `RegexpParser`.
struct RegexpStage: Sendable {
    private let regex: LinearRegex
    /// By group from 1; nil without a name.
    private let names: [Int32?]

    init(_ regex: LinearRegex, names: [Int32?]) {
        self.regex = regex
        self.names = names
    }

    func process(_ line: [UInt8], _ labels: EntryLabels) {
        guard !labels.needsNoLabels, let match = regex.firstMatch(inBytes: line) else { return }
        match.subject.withUnsafeBufferPointer { subject in
            for (index, number) in names.enumerated() {
                guard let number, let name = labels.nameToExtract(number) else { continue }
                let range = match.groups[index + 1] ?? 0..<0
                labels.set(.parsed, name, UnsafeBufferPointer(rebasing: subject[range]))
            }
        }
    }
}

/// `pattern "<ip> - <user>"`: captures become labels, each up to the first place of the literal behind it. Where a
/// literal is missing its capture takes the rest, and later ones are not set; a line that lacks the first literal
/// stays as it is. Source: Loki 3.6 `pattern.Matcher`.
struct PatternStage: Sendable {
    private struct Capture: Sendable {
        /// Nil for `<_>`.
        var name: Int32?
        /// Nil at the end.
        var literal: Needle?
    }

    private let prefix: [UInt8]
    private let captures: [Capture]

    init(_ pattern: PatternExpression, number: (String) -> Int32) {
        var prefix: [UInt8] = []
        var captures: [Capture] = []
        for part in pattern.parts {
            switch part {
            case .literal(let bytes):
                if captures.isEmpty {
                    prefix = bytes
                } else {
                    captures[captures.count - 1].literal = Needle(bytes)
                }
            case .capture(let name):
                captures.append(Capture(name: name.map(number), literal: nil))
            }
        }
        self.prefix = prefix
        self.captures = captures
    }

    func process(_ line: [UInt8], _ labels: EntryLabels) {
        guard !line.isEmpty, !labels.needsNoLabels, line.starts(with: prefix) else { return }
        line.withUnsafeBufferPointer { text in
            var start = prefix.count
            for capture in captures {
                let end = capture.literal.flatMap { $0.firstIndex(in: text, from: start) }
                if let number = capture.name, let name = labels.nameToExtract(number) {
                    let value = UnsafeBufferPointer(rebasing: text[start..<(end ?? text.count)])
                    labels.set(.parsed, name) { appendRepaired(value, to: &$0) }
                }
                guard let end, let literal = capture.literal else { return }
                start = end + literal.count
            }
        }
    }
}

/// `decolorize`: takes the control sequences of terminals out of a line. Source: LogQL's documentation, "decolorize";
/// ECMA-48, in the reading of github.com/chalk/ansi-regex.
enum DecolorizeStage {
    static func process(_ line: inout [UInt8]) {
        let changed = line.withUnsafeBufferPointer { text -> [UInt8]? in
            guard var at = nextIntroducer(text, 0) else { return nil }
            var result: [UInt8] = []
            var copied = 0
            while true {
                if let end = endOfSequence(text, at) {
                    result.append(contentsOf: text[copied..<at])
                    copied = end
                    at = end
                } else {
                    at += 1
                }
                guard let next = nextIntroducer(text, at) else { break }
                at = next
            }
            result.append(contentsOf: text[copied...])
            return result
        }
        if let changed { line = changed }
    }

    /// The next ESC, or U+009B.
    private static func nextIntroducer(
        _ text: UnsafeBufferPointer<UInt8>, _ start: Int
    ) -> Int? {
        var at = start
        while at < text.count {
            if text[at] == 0x1b { return at }
            if text[at] == 0xc2, at + 1 < text.count, text[at + 1] == 0x9b { return at }
            at += 1
        }
        return nil
    }

    /// The index after the sequence at `start`; nil where there is none.
    private static func endOfSequence(
        _ text: UnsafeBufferPointer<UInt8>, _ start: Int
    ) -> Int? {
        var body = start + (text[start] == 0x1b ? 1 : 2)
        while body < text.count, "[]()#;?".utf8.contains(text[body]) { body += 1 }
        // A word such as a title, ended by BEL.
        var end = body
        while end < text.count, isWord(text[end]) || text[end] == UInt8(ascii: ";") { end += 1 }
        if end < text.count, text[end] == 7 { return end + 1 }
        // Numbers and a letter; a digit does for the letter where none follows.
        end = endOfNumbers(text, body)
        while true {
            if end < text.count, isFinal(text[end]) { return end + 1 }
            guard end > body else { return nil }
            end -= 1
        }
    }

    /// Behind up to four digits, and any number of times a semicolon with up to four.
    private static func endOfNumbers(
        _ text: UnsafeBufferPointer<UInt8>, _ start: Int
    ) -> Int {
        var at = start
        func digits() -> Int {
            var count = 0
            while count < 4, at + count < text.count, (48...57).contains(text[at + count]) {
                count += 1
            }
            return count
        }
        let first = digits()
        guard first > 0 else { return at }
        at += first
        while at < text.count, text[at] == UInt8(ascii: ";") {
            at += 1
            at += digits()
        }
        return at
    }

    private static func isWord(_ byte: UInt8) -> Bool {
        (48...57).contains(byte) || (97...122).contains(byte | 0x20)
    }

    private static func isFinal(_ byte: UInt8) -> Bool {
        switch byte {
        case 48...57, 65...80, UInt8(ascii: "R"), UInt8(ascii: "Z"), UInt8(ascii: "c"), 102...110,
            UInt8(ascii: "t"), UInt8(ascii: "q"), UInt8(ascii: "r"), UInt8(ascii: "y"), 60...62,
            UInt8(ascii: "~"):
            true
        default: false
        }
    }
}
