import Glibc
import GoTemplate
import LogQLSyntax

/// The arithmetic of LogQL's templates: whole numbers wrap around, `…f` counts in decimals.
/// What is no number is 0. Source: sprig 3.3 numeric.go, cast 1.10.
enum LogTemplateNumbers {
    static let functions: [String: TemplateFunction] = whole.merging(fractional) { $1 }

    private static let divisionByZero = GoTemplateError.function(
        "runtime error: integer divide by zero")

    private static let whole: [String: TemplateFunction] = [
        "int": TemplateFunction([.any]) { .int(int($0[0])) },
        "add": TemplateFunction([], restMax: .max) { a in .int(a.reduce(0) { $0 &+ int($1) }) },
        "sub": TemplateFunction([.any, .any]) { .int(int($0[0]) &- int($0[1])) },
        "mul": TemplateFunction([.any], restMax: .max) { a in .int(a.reduce(1) { $0 &* int($1) }) },
        "div": TemplateFunction([.any, .any]) { (a) throws(GoTemplateError) in
            let divisor = int(a[1])
            guard divisor != 0 else { throw divisionByZero }
            return .int(int(a[0]).dividedReportingOverflow(by: divisor).partialValue)
        },
        "mod": TemplateFunction([.any, .any]) { (a) throws(GoTemplateError) in
            let divisor = int(a[1])
            guard divisor != 0 else { throw divisionByZero }
            return .int(int(a[0]).remainderReportingOverflow(dividingBy: divisor).partialValue)
        },
        "max": TemplateFunction([.any], restMax: .max) { .int($0.map(int).max() ?? 0) },
        "min": TemplateFunction([.any], restMax: .max) { .int($0.map(int).min() ?? 0) },
    ]

    private static let fractional: [String: TemplateFunction] = [
        "float64": TemplateFunction([.any]) { .float(float($0[0])) },
        "addf": TemplateFunction([], restMax: .max) { (a) throws(GoTemplateError) in
            try decimals([.float(0)] + a) { (a, b) throws(GoTemplateError) in a + b }
        },
        "subf": TemplateFunction([.any], restMax: .max) { (a) throws(GoTemplateError) in
            try decimals(a) { (a, b) throws(GoTemplateError) in a - b }
        },
        "mulf": TemplateFunction([.any], restMax: .max) { (a) throws(GoTemplateError) in
            try decimals(a) { (a, b) throws(GoTemplateError) in a * b }
        },
        "divf": TemplateFunction([.any], restMax: .max) { (a) throws(GoTemplateError) in
            try decimals(a) { (a, b) throws(GoTemplateError) in
                guard let quotient = a.divided(by: b) else {
                    throw .function("decimal division by 0")
                }
                return quotient
            }
        },
        "maxf": TemplateFunction([.any], restMax: .max) { a in
            .float(a.map(float).reduce(-.infinity) { $0.isNaN || $1.isNaN ? .nan : max($0, $1) })
        },
        "minf": TemplateFunction([.any], restMax: .max) { a in
            .float(a.map(float).reduce(.infinity) { $0.isNaN || $1.isNaN ? .nan : min($0, $1) })
        },
        "ceil": TemplateFunction([.any]) { .float(float($0[0]).rounded(.up)) },
        "floor": TemplateFunction([.any]) { .float(float($0[0]).rounded(.down)) },
        "round": TemplateFunction([.any, .int], rest: .float, restMax: .max) { a in
            var threshold = 0.5
            if a.count > 2, case .float(let given) = a[2] { threshold = given }
            return .float(rounded(float(a[0]), places: int(a[1]), threshold))
        },
    ]

    /// Rounds up where the fraction is at least `threshold`, also below zero. Source: sprig `round`.
    private static func rounded(_ value: Double, places: Int, _ threshold: Double) -> Double {
        let power = pow(10, Double(places))
        let scaled = power * value
        let fraction = scaled - scaled.rounded(.towardZero)
        return (fraction >= threshold ? scaled.rounded(.up) : scaled.rounded(.down)) / power
    }

    private static func decimals(
        _ values: [TemplateValue],
        _ operation: (TemplateDecimal, TemplateDecimal) throws(GoTemplateError) -> TemplateDecimal
    ) throws(GoTemplateError) -> TemplateValue {
        var result: TemplateDecimal?
        for value in values {
            let number = float(value)
            guard let next = TemplateDecimal(number) else {
                throw .function(
                    "Cannot create a Decimal from \(TemplateValue.float(number).text)")
            }
            if let left = result { result = try operation(left, next) } else { result = next }
            guard (result?.digitCount ?? 0) <= TemplateDecimal.digitsMax else {
                throw .function("a number of more than \(TemplateDecimal.digitsMax) digits")
            }
        }
        return .float(result?.double ?? 0)
    }

    // MARK: - Conversion

    /// Source: cast `ToInt64`: a fraction of a text is cut off; `0x`, `0o`, `0b` and a leading zero tell the base.
    static func int(_ value: TemplateValue) -> Int {
        switch value {
        case .int(let int): return int
        case .float(let double):
            let whole = double.rounded(.towardZero)
            // Source: Go on amd64: what does not fit is the smallest number.
            return Int(exactly: whole) ?? .min
        case .bool(let bool): return bool ? 1 : 0
        case .string(let text): return int(text)
        case .null, .list, .map, .stringMap, .record, .instant, .duration, .object, .function:
            return 0
        }
    }

    private static func int(_ text: String) -> Int {
        if let value = decimalInteger(text), !hasLeadingZero(text) { return Int(value) }
        return Int(parseInteger(withoutFraction(Array(text.utf8))) ?? 0)
    }

    private static func hasLeadingZero(_ text: String) -> Bool {
        let digits = text.utf8.drop { $0 == 43 || $0 == 45 }
        return digits.first == 48 && digits.count > 1
    }

    /// `-12.50` without what comes from the point on; other texts as they are.
    private static func withoutFraction(_ bytes: [UInt8]) -> [UInt8] {
        guard let point = bytes.firstIndex(of: 46) else { return bytes }
        let isSigned = bytes.first == 43 || bytes.first == 45
        let whole = bytes[(isSigned ? 1 : 0)..<max(point, isSigned ? 1 : 0)]
        let isNumber = { (digits: ArraySlice<UInt8>) in
            digits.allSatisfy { (48...57).contains($0) }
        }
        guard isNumber(whole), isNumber(bytes[(point + 1)...]) else { return bytes }
        return Array(bytes[..<point]) + (whole.isEmpty ? [48] : [])
    }

    /// Source: Go `strconv.ParseInt` with base 0.
    private static func parseInteger(_ bytes: [UInt8]) -> Int64? {
        let isNegative = bytes.first == 45
        var digits = bytes.dropFirst(isNegative || bytes.first == 43 ? 1 : 0)
        var radix = 10
        var wasPrefix = false
        if digits.first == 48, digits.count > 1 {
            wasPrefix = true
            switch digits[digits.startIndex + 1] | 32 {
            case UInt8(ascii: "x"): radix = 16
            case UInt8(ascii: "o"): radix = 8
            case UInt8(ascii: "b"): radix = 2
            default:
                radix = 8
                digits = digits.dropFirst(1)
                return value(digits, radix, isNegative, mayUnderline: true)
            }
            digits = digits.dropFirst(2)
        }
        return value(digits, radix, isNegative, mayUnderline: wasPrefix)
    }

    /// Underscores may stand between digits of numbers that tell their base.
    private static func value(
        _ digits: ArraySlice<UInt8>, _ radix: Int, _ isNegative: Bool, mayUnderline: Bool
    ) -> Int64? {
        var kept: [UInt8] = []
        var wasUnderscore = !mayUnderline
        for byte in digits {
            if byte == 95 {
                guard mayUnderline, !wasUnderscore else { return nil }
                wasUnderscore = true
                continue
            }
            guard byte != 43, byte != 45 else { return nil }
            wasUnderscore = false
            kept.append(byte)
        }
        guard !kept.isEmpty, digits.last != 95 else { return nil }
        return Int64((isNegative ? "-" : "") + String(decoding: kept, as: UTF8.self), radix: radix)
    }

    /// Source: cast `ToFloat64`.
    static func float(_ value: TemplateValue) -> Double {
        switch value {
        case .int(let int): return Double(int)
        case .float(let double): return double
        case .bool(let bool): return bool ? 1 : 0
        case .string(let text):
            if case .value(let value) = GoNumberReader.float(text) { return value }
            return 0
        case .null, .list, .map, .stringMap, .record, .instant, .duration, .object, .function:
            return 0
        }
    }

    /// Source: Go `strconv.ParseInt` with base 10.
    static func decimalInteger(_ text: String) -> Int64? {
        isDecimal(text) ? Int64(text) : nil
    }

    /// Whether `text` are digits, perhaps with a sign.
    static func isDecimal(_ text: String) -> Bool {
        let hasSign = text.utf8.first == 43 || text.utf8.first == 45
        let digits = text.utf8.dropFirst(hasSign ? 1 : 0)
        return !digits.isEmpty && digits.allSatisfy { (48...57).contains($0) }
    }
}
