import Model

/// How the lines of a file become entries.
package enum LineDecoding: Sendable {
    /// A line is an entry as it stands.
    case plain
    /// Docker's json-file: a line is an object with a piece of a container's output. The labels are the container's.
    case dockerJSON(any ContainerNames)

    var isDocker: Bool {
        if case .dockerJSON = self { true } else { false }
    }
}

/// An object of a json-file log: `{"log":"…\n","stream":"stdout","time":"…","attrs":{…}}`.
///
/// `log` without `\n` at its end is a part of a line; Docker splits at 16 KiB.
/// Source: moby `daemon/logger/jsonfilelog/jsonlog`, `daemon/logger/copier.go`.
struct DockerRecord: Hashable, Sendable {
    enum Stream: String, Hashable, Sendable { case stdout, stderr }

    /// The bytes that the container wrote, without the line end.
    var text: [UInt8]
    var isEnded: Bool
    var stream: Stream
    /// Nil where it has none, or one that is no time.
    var time: TimestampNS?

    /// Nil where `line` is no such object. Escapes become the bytes that they stand for, lone surrogates U+FFFD; all
    /// other bytes stay. O(n).
    init?(_ line: [UInt8]) {
        var scan = JSONScan(bytes: line)
        guard scan.take(UInt8(ascii: "{")) else { return nil }
        var text: [UInt8]?
        var stream: Stream?
        time = nil
        if !scan.take(UInt8(ascii: "}")) {
            repeat {
                guard let key = scan.string(), scan.take(UInt8(ascii: ":")) else { return nil }
                switch key {
                case Self.log:
                    text = scan.string()
                    guard text != nil else { return nil }
                case Self.stream:
                    guard let name = scan.string() else { return nil }
                    stream = Stream(rawValue: String(decoding: name, as: UTF8.self))
                case Self.time:
                    guard let value = scan.string() else { return nil }
                    time = RFC3339.parse(String(decoding: value, as: UTF8.self))
                default:
                    guard scan.skip() else { return nil }
                }
            } while scan.take(UInt8(ascii: ","))
            guard scan.take(UInt8(ascii: "}")) else { return nil }
        }
        guard scan.isAtEnd, let text, let stream else { return nil }
        isEnded = text.last == 10
        self.text = isEnded ? text.dropLast() : text
        self.stream = stream
    }

    private static let log = Array("log".utf8)
    private static let stream = Array("stream".utf8)
    private static let time = Array("time".utf8)
}

/// JSON from front to back, with the bytes of its texts: `JSONReader` makes strings of them.
private struct JSONScan {
    let bytes: [UInt8]
    private var at = 0

    init(bytes: [UInt8]) { self.bytes = bytes }

    /// Nothing but blanks follows.
    var isAtEnd: Bool {
        mutating get {
            skipBlanks()
            return at == bytes.count
        }
    }

    private mutating func skipBlanks() {
        while at < bytes.count, bytes[at] == 32 || bytes[at] == 9 || bytes[at] == 13 { at += 1 }
    }

    /// Steps over `byte` where it comes next.
    mutating func take(_ byte: UInt8) -> Bool {
        skipBlanks()
        guard at < bytes.count, bytes[at] == byte else { return false }
        at += 1
        return true
    }

    /// The bytes of the text that comes next; nil where that is none, or has no end.
    mutating func string() -> [UInt8]? {
        guard take(UInt8(ascii: "\"")) else { return nil }
        var text: [UInt8] = []
        var start = at
        while at < bytes.count {
            switch bytes[at] {
            case UInt8(ascii: "\""):
                text += bytes[start..<at]
                at += 1
                return text
            case UInt8(ascii: "\\"):
                text += bytes[start..<at]
                guard escape(into: &text) else { return nil }
                start = at
            default: at += 1
            }
        }
        return nil
    }

    /// At a backslash. Source: RFC 8259, 7.
    private mutating func escape(into text: inout [UInt8]) -> Bool {
        guard at + 1 < bytes.count else { return false }
        let escaped = bytes[at + 1]
        at += 2
        switch escaped {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(escaped)
        case UInt8(ascii: "n"): text.append(10)
        case UInt8(ascii: "t"): text.append(9)
        case UInt8(ascii: "r"): text.append(13)
        case UInt8(ascii: "b"): text.append(8)
        case UInt8(ascii: "f"): text.append(12)
        case UInt8(ascii: "u"):
            guard let unit = unit(at) else { return false }
            at += 4
            var units = [unit]
            if (0xD800..<0xDC00).contains(unit), at + 1 < bytes.count,
                bytes[at] == UInt8(ascii: "\\"), bytes[at + 1] == UInt8(ascii: "u"),
                let low = self.unit(at + 2), (0xDC00..<0xE000).contains(low)
            {
                units.append(low)
                at += 6
            }
            text += String(decoding: units, as: UTF16.self).utf8
        default: return false
        }
        return true
    }

    /// Four hexadecimal digits.
    private func unit(_ start: Int) -> UInt16? {
        guard start + 4 <= bytes.count else { return nil }
        var unit: UInt16 = 0
        for byte in bytes[start..<(start + 4)] {
            let digit: UInt8
            switch byte {
            case 48...57: digit = byte - 48
            case 65...70: digit = byte - 55
            case 97...102: digit = byte - 87
            default: return nil
            }
            unit = unit << 4 | UInt16(digit)
        }
        return unit
    }

    /// Steps over a value of any kind; false where it has no end.
    mutating func skip() -> Bool {
        var depth = 0
        repeat {
            skipBlanks()
            guard at < bytes.count else { return false }
            switch bytes[at] {
            case UInt8(ascii: "\""):
                guard string() != nil else { return false }
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                depth += 1
                at += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                depth -= 1
                at += 1
                guard depth >= 0 else { return false }
            case UInt8(ascii: ","), UInt8(ascii: ":"):
                guard depth > 0 else { return false }
                at += 1
            default:
                let start = at
                while at < bytes.count, Self.isWord(bytes[at]) { at += 1 }
                guard at > start else { return false }
            }
        } while depth > 0
        return true
    }

    private static func isWord(_ byte: UInt8) -> Bool {
        switch byte {
        case 48...57, 65...90, 97...122, UInt8(ascii: "-"), UInt8(ascii: "+"), UInt8(ascii: "."):
            true
        default: false
        }
    }
}
