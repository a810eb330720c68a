internal import Model

/// Go's `fmt.Sprintf` over template values.
struct GoFormat {
    private struct Directive {
        var isLeft = false
        var hasPlus = false
        var isSharp = false
        var hasSpace = false
        var isZeroPadded = false
        var width: Int?
        var precision: Int?
    }

    /// Widest field and longest fraction that a directive may ask for.
    private static let widthMax = 1000

    private let format: [Character]
    private let arguments: [TemplateValue]
    private var at = 0
    private var argumentIndex = 0
    /// Some directive named its argument by number: what is left over is not told.
    private var isReordered = false
    /// Of the directive at hand: its numbers of arguments are those of arguments, and stand where they may.
    private var isIndexGood = true
    private var output = ""

    init(_ format: String, _ arguments: [TemplateValue]) {
        self.format = Array(format)
        self.arguments = arguments
    }

    /// The formatted text; wrong verbs and missing arguments appear in it as Go writes them, `%!d(string=x)`.
    mutating func run() -> String {
        while at < format.count {
            let character = format[at]
            at += 1
            guard character == "%" else {
                output.append(character)
                continue
            }
            directive()
        }
        if !isReordered, argumentIndex < arguments.count {
            let extra = arguments[argumentIndex...].map {
                $0.isNull ? "<nil>" : "\($0.typeName)=\($0.text)"
            }
            output += "%!(EXTRA " + extra.joined(separator: ", ") + ")"
        }
        return output
    }

    private mutating func directive() {
        var directive = Directive()
        flags: while at < format.count {
            switch format[at] {
            case "-": directive.isLeft = true
            case "+": directive.hasPlus = true
            case "#": directive.isSharp = true
            case " ": directive.hasSpace = true
            case "0": directive.isZeroPadded = true
            default: break flags
            }
            at += 1
        }
        isIndexGood = true
        var isAfterIndex = index()
        if takesArgument() {
            isAfterIndex = false
            if let width = integerArgument() {
                // Less than nothing is to the left, and never with zeros.
                directive.isLeft = directive.isLeft || width < 0
                directive.isZeroPadded = directive.isZeroPadded && width >= 0
                directive.width = min(Int(clamping: width.magnitude), Self.widthMax)
            } else {
                output += "%!(BADWIDTH)"
            }
        } else if let width = number() {
            directive.width = width
            if isAfterIndex { isIndexGood = false }
        }
        if at + 1 < format.count, format[at] == "." {
            at += 1
            if isAfterIndex { isIndexGood = false }
            isAfterIndex = index()
            if takesArgument() {
                isAfterIndex = false
                if let precision = integerArgument(), precision >= 0 {
                    directive.precision = min(precision, Self.widthMax)
                } else {
                    output += "%!(BADPREC)"
                }
            } else {
                directive.precision = number() ?? 0
            }
        }
        if !isAfterIndex { _ = index() }
        finish(directive)
    }

    /// The verb and what it stands for.
    private mutating func finish(_ directive: Directive) {
        guard at < format.count else {
            output += "%!(NOVERB)"
            return
        }
        let verb = format[at]
        at += 1
        if verb == "%" {
            output += "%"
            return
        }
        guard isIndexGood else {
            output += "%!\(verb)(BADINDEX)"
            return
        }
        guard argumentIndex < arguments.count else {
            output += "%!\(verb)(MISSING)"
            return
        }
        let argument = arguments[argumentIndex]
        argumentIndex += 1
        output += pad(text(argument, verb, directive), directive, isNumber: isNumber(argument))
    }

    /// Reads `[2]`: the number of the argument that comes next, from 1. Whether one stood there.
    private mutating func index() -> Bool {
        guard at < format.count, format[at] == "[" else { return false }
        isReordered = true
        guard at + 2 < format.count, let end = format[at...].firstIndex(of: "]") else {
            isIndexGood = false
            at += 1
            return false
        }
        let digits = String(format[(at + 1)..<end])
        at = end + 1
        guard !digits.isEmpty, digits.utf8.allSatisfy({ (48...57).contains($0) }) else {
            isIndexGood = false
            return false
        }
        if let number = Int(digits), number >= 1, number <= arguments.count {
            argumentIndex = number - 1
        } else {
            isIndexGood = false
        }
        return true
    }

    private mutating func takesArgument() -> Bool {
        guard at < format.count, format[at] == "*" else { return false }
        at += 1
        return true
    }

    private mutating func integerArgument() -> Int? {
        guard argumentIndex < arguments.count else { return nil }
        argumentIndex += 1
        guard case .int(let value) = arguments[argumentIndex - 1].plain else { return nil }
        return value
    }

    private mutating func number() -> Int? {
        let start = at
        while at < format.count, format[at].isASCII, format[at].isNumber { at += 1 }
        guard at > start else { return nil }
        return min(Int(String(format[start..<at])) ?? Self.widthMax, Self.widthMax)
    }

    private func isNumber(_ value: TemplateValue) -> Bool {
        switch value.plain {
        case .int, .float: true
        case .null, .bool, .string, .list, .map, .stringMap, .record, .instant, .duration, .object,
            .function:
            false
        }
    }

    private func pad(_ text: String, _ directive: Directive, isNumber: Bool) -> String {
        let missing = (directive.width ?? 0) - text.unicodeScalars.count
        guard missing > 0 else { return text }
        if directive.isLeft { return text + String(repeating: " ", count: missing) }
        guard directive.isZeroPadded else {
            return String(repeating: " ", count: missing) + text
        }
        let zeros = String(repeating: "0", count: missing)
        if isNumber, let first = text.first, first == "-" || first == "+" || first == " " {
            return "\(first)" + zeros + text.dropFirst()
        }
        return zeros + text
    }

    private func text(_ value: TemplateValue, _ verb: Character, _ directive: Directive) -> String {
        if verb == "T" { return value.typeName }
        let bad = "%!\(verb)(" + (value.isNull ? "<nil>" : "\(value.typeName)=\(value.text)") + ")"
        switch value.plain {
        case .bool(let bool): return verb == "t" || verb == "v" ? "\(bool)" : bad
        case .int(let int): return integer(int, verb, directive) ?? bad
        case .float(let double): return float(double, verb, directive) ?? bad
        case .string(let string): return self.string(string, verb, directive) ?? bad
        case .duration(let nanoseconds):
            if verb == "d" { return "\(nanoseconds)" }
            return string(GoTime.duration(nanoseconds), verb, directive) ?? bad
        case .instant(let time): return string(GoTime.text(time), verb, directive) ?? bad
        case .null: return verb == "v" ? "<nil>" : bad
        case .list(let items):
            return "[" + items.map { text($0, verb, directive) }.joined(separator: " ") + "]"
        case .map(let entries):
            let sorted = entries.sorted { bytesPrecede($0.key, $1.key) }
            return "map["
                + sorted.map { "\($0.key):\(text($0.value, verb, directive))" }
                .joined(separator: " ") + "]"
        case .stringMap(let entries):
            let sorted = entries.sorted { bytesPrecede($0.key, $1.key) }
            return "map["
                + sorted.map {
                    "\(text(.string($0.key), verb, directive)):"
                        + text(.string($0.value), verb, directive)
                }.joined(separator: " ") + "]"
        case .object, .function, .record: return verb == "v" || verb == "s" ? value.text : bad
        }
    }

    private func integer(_ value: Int, _ verb: Character, _ directive: Directive) -> String? {
        var digits: String
        switch verb {
        case "d", "v": digits = String(value.magnitude)
        case "x": digits = (directive.isSharp ? "0x" : "") + String(value.magnitude, radix: 16)
        case "X":
            digits =
                (directive.isSharp ? "0X" : "")
                + String(value.magnitude, radix: 16, uppercase: true)
        case "o": digits = (directive.isSharp ? "0" : "") + String(value.magnitude, radix: 8)
        case "b": digits = String(value.magnitude, radix: 2)
        case "c": return Unicode.Scalar(UInt32(clamping: value)).map { String(Character($0)) }
        case "q":
            return Unicode.Scalar(UInt32(clamping: value)).map { "'\(Character($0))'" }
        case "U":
            let code = String(value.magnitude, radix: 16, uppercase: true)
            return "U+" + String(repeating: "0", count: max(0, 4 - code.count)) + code
        default: return nil
        }
        if let precision = directive.precision, digits.count < precision {
            digits = String(repeating: "0", count: precision - digits.count) + digits
        }
        return signed(digits, isNegative: value < 0, directive)
    }

    private func signed(_ digits: String, isNegative: Bool, _ directive: Directive) -> String {
        if isNegative { return "-" + digits }
        return (directive.hasPlus ? "+" : directive.hasSpace ? " " : "") + digits
    }

    private func float(_ value: Double, _ verb: Character, _ directive: Directive) -> String? {
        let flags =
            (directive.hasPlus ? "+" : directive.hasSpace ? " " : "")
            + (directive.isSharp ? "#" : "")
        switch verb {
        case "f", "F", "e", "E":
            return GoFloat.text(
                value, verb: verb == "F" ? "f" : verb, precision: directive.precision ?? 6,
                flags: flags)
        case "g", "G", "v":
            if let precision = directive.precision {
                return GoFloat.text(
                    value, verb: verb == "v" ? "g" : verb, precision: precision, flags: flags)
            }
            let text = GoFloat.shortest(value)
            let isSigned = text.hasPrefix("-") || text.hasPrefix("+")
            return (isSigned ? "" : directive.hasPlus ? "+" : directive.hasSpace ? " " : "")
                + (verb == "G" ? text.uppercased() : text)
        default: return nil
        }
    }

    private func string(_ value: String, _ verb: Character, _ directive: Directive) -> String? {
        let cut =
            directive.precision.map {
                String(String.UnicodeScalarView(value.unicodeScalars.prefix($0)))
            } ?? value
        switch verb {
        case "s", "v": return directive.isSharp && verb == "v" ? Self.quoted(cut) : cut
        case "q": return Self.quoted(cut)
        case "x", "X":
            return cut.utf8.map {
                let digits = String($0, radix: 16, uppercase: verb == "X")
                return digits.count < 2 ? "0" + digits : digits
            }.joined()
        default: return nil
        }
    }

    /// A Go string literal. Source: Go strconv.Quote.
    static func quoted(_ text: String) -> String {
        var quoted = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": quoted += "\\\""
            case "\\": quoted += "\\\\"
            case "\n": quoted += "\\n"
            case "\t": quoted += "\\t"
            case "\r": quoted += "\\r"
            case "\u{7}": quoted += "\\a"
            case "\u{8}": quoted += "\\b"
            case "\u{c}": quoted += "\\f"
            case "\u{b}": quoted += "\\v"
            default:
                if scalar.value < 32 || scalar.value == 127 {
                    let code = String(scalar.value, radix: 16)
                    quoted += "\\x" + (code.count < 2 ? "0" : "") + code
                } else {
                    quoted.unicodeScalars.append(scalar)
                }
            }
        }
        return quoted + "\""
    }
}
