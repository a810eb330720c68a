import Glibc

/// What reaches the terminal: nothing in a log line or a label may steer it.
enum Terminal {
    static func printError(_ text: String) {
        var text = text + "\n"
        text.withUTF8 { _ = write(STDERR_FILENO, $0.baseAddress, $0.count) }
    }

    /// What a text looks like. Source: ECMA-48, "SGR".
    enum Style: String {
        case plain = ""
        case dim = "2"
        case bold = "1"
        case red = "31"
        case yellow = "33"
        case green = "32"
        case cyan = "36"

        /// Of a line's level.
        init(level: String) {
            switch level {
            case "error", "critical", "fatal": self = .red
            case "warn": self = .yellow
            case "info": self = .green
            case "debug", "trace": self = .dim
            default: self = .plain
            }
        }
    }

    /// Whether standard output is a terminal that shows colours. Source: no-color.org.
    static let hasColours: Bool = {
        let refusal = getenv("NO_COLOR").map { String(cString: $0) } ?? ""
        let terminal = getenv("TERM").map { String(cString: $0) } ?? ""
        return isatty(STDOUT_FILENO) == 1 && refusal.isEmpty && !["", "dumb"].contains(terminal)
    }()

    /// `text`, which must be escaped, in a style, where colours are shown.
    static func styled(_ text: String, _ style: Style, hasColours: Bool = hasColours) -> String {
        guard hasColours, style != .plain, !text.isEmpty else { return text }
        return "\u{1b}[\(style.rawValue)m\(text)\u{1b}[0m"
    }

    /// `text` with control characters, escape sequences and marks that reorder text written as `\x1b` or `\u{202e}`.
    static func escaped(_ text: String) -> String {
        guard text.unicodeScalars.contains(where: isDangerous) else { return text }
        var escaped = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\n": escaped += "\\n"
            case "\r": escaped += "\\r"
            case "\t": escaped += "\\t"
            case _ where !isDangerous(scalar): escaped.unicodeScalars.append(scalar)
            case _ where scalar.value < 0x100:
                let digits = String(scalar.value, radix: 16)
                escaped += "\\x" + (digits.count == 1 ? "0" : "") + digits
            default: escaped += "\\u{" + String(scalar.value, radix: 16) + "}"
            }
        }
        return escaped
    }

    /// JSON text with the same scalars written as JSON escapes; within JSON they stand in strings alone.
    static func escapedJSON(_ text: String) -> String {
        guard text.unicodeScalars.contains(where: isDangerous) else { return text }
        var escaped = ""
        for scalar in text.unicodeScalars {
            guard isDangerous(scalar) else {
                escaped.unicodeScalars.append(scalar)
                continue
            }
            let digits = String(scalar.value, radix: 16)
            escaped += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
        }
        return escaped
    }

    private static func isDangerous(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0..<0x20, 0x7f..<0xa0: true
        // Line and paragraph separators, directional marks, embeddings and isolates, the byte order mark.
        case 0x2028...0x202e, 0x200e...0x200f, 0x2066...0x2069, 0xfeff: true
        default: false
        }
    }
}

/// Rows in columns as wide as their widest cell.
struct TextTable {
    private var rows: [[(text: String, style: Terminal.Style)]]

    init(_ header: String...) { rows = [header.map { ($0, .bold) }] }

    var isEmpty: Bool { rows.count == 1 }

    /// Adds a row; its cells are escaped.
    mutating func append(_ cells: String...) {
        rows.append(cells.map { (Terminal.escaped($0), .plain) })
    }

    /// Adds a row; its cells are escaped, and then coloured where colours are shown.
    mutating func append(styled cells: [(text: String, style: Terminal.Style)]) {
        rows.append(cells.map { (Terminal.escaped($0.text), $0.style) })
    }

    func write() {
        let columnCount = rows.map(\.count).max() ?? 0
        let widths = (0..<columnCount).map { column in
            rows.map { $0.indices.contains(column) ? $0[column].text.count : 0 }.max() ?? 0
        }
        for row in rows {
            var line = ""
            for (column, cell) in row.enumerated() {
                line += Terminal.styled(cell.text, cell.style)
                guard column < row.count - 1 else { continue }
                line += String(repeating: " ", count: widths[column] - cell.text.count + 2)
            }
            print(line)
        }
    }
}
