import LogQLSyntax

// Numbers, durations and sizes in labels, as Go reads them, with the words of its refusals.

/// What a text was read as.
enum GoValue<Value: Sendable>: Sendable {
    case value(Value)
    /// The text of the error.
    case fault(String)
}

/// Source: Go 1.24 `strconv.ParseFloat`.
enum GoNumberReader {
    /// A number; nil with Go's error text where `text` is none.
    static func float(_ text: String) -> GoValue<Double> {
        if let value = parseFloat(text) { return .value(value) }
        if let value = special(text) { return .value(value) }
        if let value = Double(withoutUnderscores(text)), value.isInfinite {
            return .fault("strconv.ParseFloat: parsing \(goQuoted(text)): value out of range")
        }
        return .fault("strconv.ParseFloat: parsing \(goQuoted(text)): invalid syntax")
    }

    /// Nanoseconds. Source: Go 1.24 `time.ParseDuration`.
    static func duration(_ text: String) -> GoValue<Int64> {
        if let value = parseGoDuration(text) { return .value(value) }
        return .fault("time: " + durationComplaint(text))
    }

    /// Bytes. Source: go-humanize `ParseBytes`.
    static func size(_ text: String) -> GoValue<UInt64> {
        if let value = parseSize(text) { return .value(value) }
        let digits = text.utf8.prefix { (48...57).contains($0) || $0 == 46 || $0 == 44 }
        let number = String(decoding: digits.filter { $0 != 44 }, as: UTF8.self)
        if case .fault(let fault) = float(number) { return .fault(fault) }
        var unit = text.utf8.dropFirst(digits.count)[...]
        while let first = unit.first, first == 32 || (9...13).contains(first) { unit.removeFirst() }
        while let last = unit.last, last == 32 || (9...13).contains(last) { unit.removeLast() }
        let name = String(Substring(unit)).lowercased()
        let units = ["", "k", "m", "g", "t", "p", "e"].flatMap {
            ["\($0)b", "\($0)ib", $0, "\($0)i"]
        }
        if units.contains(name), name != "ib", name != "i" { return .fault("too large: \(text)") }
        return .fault("unhandled size name: \(name)")
    }

    private static func special(_ text: String) -> Double? {
        switch text.lowercased() {
        case "nan": .nan
        case "inf", "+inf", "infinity", "+infinity": .infinity
        case "-inf", "-infinity": -.infinity
        default: nil
        }
    }

    private static func durationComplaint(_ text: String) -> String {
        let quoted = goQuoted(text)
        let invalid = "invalid duration \(quoted)"
        var rest = Array(text.unicodeScalars)[...]
        func isDigit(_ scalar: Unicode.Scalar) -> Bool { ("0"..."9").contains(scalar) }
        if rest.first == "-" || rest.first == "+" { rest.removeFirst() }
        while let first = rest.first {
            guard first == "." || isDigit(first) else { return invalid }
            let whole = rest.prefix(while: isDigit)
            rest.removeFirst(whole.count)
            var digitCount = whole.count
            if rest.first == "." {
                rest.removeFirst()
                let fraction = rest.prefix(while: isDigit)
                rest.removeFirst(fraction.count)
                digitCount += fraction.count
            }
            guard digitCount > 0 else { return invalid }
            let unit = rest.prefix { $0 != "." && !isDigit($0) }
            guard !unit.isEmpty else { return "missing unit in duration \(quoted)" }
            rest.removeFirst(unit.count)
            var name = String.UnicodeScalarView()
            name.append(contentsOf: unit)
            let units = ["ns", "us", "\u{b5}s", "\u{3bc}s", "ms", "s", "m", "h"]
            guard units.contains(String(name)) else {
                return "unknown unit \(goQuoted(String(name))) in duration \(quoted)"
            }
        }
        return invalid
    }
}
