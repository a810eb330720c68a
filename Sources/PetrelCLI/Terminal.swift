import Glibc

/// What reaches the terminal: nothing in a log line or a label may steer it.
enum Terminal {
    static func printError(_ text: String) {
        var text = text + "\n"
        text.withUTF8 { _ = write(STDERR_FILENO, $0.baseAddress, $0.count) }
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
    private var rows: [[String]]

    init(_ header: String...) { rows = [header] }

    var isEmpty: Bool { rows.count == 1 }

    /// Adds a row; its cells are escaped.
    mutating func append(_ cells: String...) { rows.append(cells.map(Terminal.escaped)) }

    func write() {
        let columnCount = rows.map(\.count).max() ?? 0
        let widths = (0..<columnCount).map { column in
            rows.map { $0.indices.contains(column) ? $0[column].count : 0 }.max() ?? 0
        }
        for row in rows {
            var line = ""
            for (column, cell) in row.enumerated() {
                line += cell
                guard column < row.count - 1 else { continue }
                line += String(repeating: " ", count: widths[column] - cell.count + 2)
            }
            print(line)
        }
    }
}
