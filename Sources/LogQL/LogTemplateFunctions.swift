import GoTemplate
import LinearRegex
import Model

/// The functions of LogQL's templates, beside those of Go's `text/template`.
///
/// They read no clock and no files: `now` is the time of the query's evaluation, and time zones are given with each entry.
/// Source: Loki 3.6, documentation "Template functions"; sprig 3.3 and cast 1.10, whose functions most of them are.
enum LogTemplateFunctions {
    static let lineName = "__line__"
    static let timestampName = "__timestamp__"
    /// Longest result of a function, in bytes.
    static let resultBytesMax = LogEntry.lineBytesMax

    /// The inputs of an expansion, by number.
    private static let (lineInput, timestampInput, nowInput, zonesInput) = (
        0, 1, 2, 3
    )

    /// The functions by name; they share what they have compiled.
    static func make() -> [String: TemplateFunction] {
        let regexes = TemplateRegexCache()
        return texts.merging(cases) { $1 }.merging(affixes) { $1 }.merging(encodings) { $1 }
            .merging(times(TemplateLayoutCache())) { $1 }.merging(LogTemplateNumbers.functions) {
                $1
            }
            .merging(self.regexes(regexes)) { $1 }
    }

    private static func tooLong() -> GoTemplateError {
        .function("the result is longer than \(resultBytesMax) bytes")
    }

    /// The text of an argument whose type was checked.
    private static func text(_ value: TemplateValue) -> String {
        if case .string(let text) = value { text } else { "" }
    }

    private static func int(_ value: TemplateValue) -> Int {
        if case .int(let int) = value { int } else { 0 }
    }

    private static func time(_ value: TemplateValue) -> GoInstant {
        if case .instant(let time) = value { time } else { .zero }
    }

    // MARK: - Texts

    /// A function of texts alone.
    private static func mapped(
        _ count: Int, _ change: @escaping @Sendable ([String]) -> String
    ) -> TemplateFunction {
        TemplateFunction(Array(repeating: .string, count: count)) { a in
            .string(change(a.map(text)))
        }
    }

    private static func test(
        _ holds: @escaping @Sendable (_ part: String, _ text: String) -> Bool
    ) -> TemplateFunction {
        TemplateFunction([.string, .string]) { .bool(holds(text($0[0]), text($0[1]))) }
    }

    private static let cases: [String: TemplateFunction] = [
        "ToLower": mapped(1) { GoText.lower($0[0]) },
        "lower": mapped(1) { GoText.lower($0[0]) },
        "ToUpper": mapped(1) { GoText.upper($0[0]) },
        "upper": mapped(1) { GoText.upper($0[0]) },
        "title": mapped(1) { GoText.title($0[0]) },
    ]

    private static let affixes: [String: TemplateFunction] = [
        "Trim": mapped(2) { GoText.trimmed($0[0], $0[1]) },
        "TrimLeft": mapped(2) { GoText.trimmed($0[0], $0[1], atEnd: false) },
        "TrimRight": mapped(2) { GoText.trimmed($0[0], $0[1], atStart: false) },
        "TrimPrefix": mapped(2) { TemplateText.without(prefix: $0[1], $0[0]) },
        "TrimSuffix": mapped(2) { TemplateText.without(suffix: $0[1], $0[0]) },
        "TrimSpace": mapped(1) { GoText.trimmedSpace($0[0]) },
        "trim": mapped(1) { GoText.trimmedSpace($0[0]) },
        "trimAll": mapped(2) { GoText.trimmed($0[1], $0[0]) },
        "trimPrefix": mapped(2) { TemplateText.without(prefix: $0[0], $0[1]) },
        "trimSuffix": mapped(2) { TemplateText.without(suffix: $0[0], $0[1]) },
        "contains": test { part, text in TemplateText.contains(text, part) },
        "hasPrefix": test { part, text in text.utf8.starts(with: part.utf8) },
        "hasSuffix": test { part, text in
            text.utf8.reversed().starts(with: part.utf8.reversed())
        },
    ]

    private static let texts: [String: TemplateFunction] = [
        "Replace": TemplateFunction([.string, .string, .string, .int]) {
            (a) throws(GoTemplateError) in
            try replacing(text(a[0]), text(a[1]), text(a[2]), int(a[3]))
        },
        "replace": TemplateFunction([.string, .string, .string]) { (a) throws(GoTemplateError) in
            try replacing(text(a[2]), text(a[0]), text(a[1]), -1)
        },
        "trunc": TemplateFunction([.int, .string]) {
            .string(TemplateText.truncated(text($0[1]), int($0[0])))
        },
        "substr": TemplateFunction([.int, .int, .string]) { (a) throws(GoTemplateError) in
            .string(try TemplateText.substring(text(a[2]), int(a[0]), int(a[1])))
        },
        "repeat": TemplateFunction([.int, .string]) { (a) throws(GoTemplateError) in
            .string(try repeated(text(a[1]), int(a[0])))
        },
        "indent": TemplateFunction([.int, .string]) { (a) throws(GoTemplateError) in
            .string(try indented(text(a[1]), int(a[0])))
        },
        "nindent": TemplateFunction([.int, .string]) { (a) throws(GoTemplateError) in
            .string("\n" + (try indented(text(a[1]), int(a[0]))))
        },
        "alignLeft": TemplateFunction([.int, .string]) { (a) throws(GoTemplateError) in
            .string(try aligned(text(a[1]), int(a[0]), isLeft: true))
        },
        "alignRight": TemplateFunction([.int, .string]) { (a) throws(GoTemplateError) in
            .string(try aligned(text(a[1]), int(a[0]), isLeft: false))
        },
        "default": TemplateFunction([.any], restMax: .max) { a in
            a.count > 1 && a[1].isTrue ? a[1] : a[0]
        },
    ]

    private static func replacing(
        _ text: String, _ old: String, _ new: String, _ count: Int
    ) throws(GoTemplateError) -> TemplateValue {
        guard
            let result = TemplateText.replacing(
                text, old, with: new, countMax: count < 0 ? .max : count, bytesMax: resultBytesMax)
        else { throw tooLong() }
        return .string(result)
    }

    private static func repeated(_ text: String, _ count: Int) throws(GoTemplateError) -> String {
        guard count >= 0 else { throw .function("strings: negative Repeat count") }
        let (total, overflow) = text.utf8.count.multipliedReportingOverflow(by: count)
        guard !overflow, total <= resultBytesMax else { throw tooLong() }
        return total == 0 ? "" : String(repeating: text, count: count)
    }

    private static func indented(_ text: String, _ count: Int) throws(GoTemplateError) -> String {
        let pad = try repeated(" ", count)
        guard
            let result = TemplateText.replacing(
                text, "\n", with: "\n" + pad, countMax: .max, bytesMax: resultBytesMax)
        else { throw tooLong() }
        return pad + result
    }

    /// Cut or padded to `count` scalars; as it is where `count` is negative.
    private static func aligned(
        _ text: String, _ count: Int, isLeft: Bool
    ) throws(GoTemplateError) -> String {
        let scalars = text.unicodeScalars
        guard count >= 0, count != scalars.count else { return text }
        let missing = count - scalars.count
        if missing > 0 {
            let pad = try repeated(" ", missing)
            return isLeft ? text + pad : pad + text
        }
        return isLeft ? String(scalars.prefix(count)) : String(scalars.suffix(count))
    }

    // MARK: - Encodings

    private static let encodings: [String: TemplateFunction] = [
        "urlencode": mapped(1) { TemplateEscape.query($0[0]) },
        "urldecode": TemplateFunction([.string]) { (a) throws(GoTemplateError) in
            .string(try TemplateEncoding.urlDecoded(text(a[0])))
        },
        "b64enc": mapped(1) { TemplateEncoding.base64($0[0]) },
        "b64dec": mapped(1) { TemplateEncoding.base64Decoded($0[0]) },
        "fromJson": TemplateFunction([.string]) { TemplateEncoding.json(text($0[0])) },
        "bytes": TemplateFunction([.string]) { (a) throws(GoTemplateError) in
            switch GoNumberReader.size(text(a[0])) {
            case .value(let size): return .float(Double(size))
            case .fault(let fault): throw .function(fault)
            }
        },
        "duration": duration, "duration_seconds": duration,
    ]

    private static let duration = TemplateFunction([.string]) { (a) throws(GoTemplateError) in
        switch GoNumberReader.duration(text(a[0])) {
        case .value(let nanoseconds):
            // Source: Go `Duration.Seconds`: whole seconds and the rest apart.
            let whole = nanoseconds / 1_000_000_000
            return .float(Double(whole) + Double(nanoseconds % 1_000_000_000) / 1e9)
        case .fault(let fault): throw .function(fault)
        }
    }

    // MARK: - Times

    private static func times(_ layouts: TemplateLayoutCache) -> [String: TemplateFunction] {
        [
            lineName: .input(lineInput), timestampName: .input(timestampInput),
            "now": .input(nowInput),
            "date": TemplateFunction([.string, .any]) { a in
                let layout = layouts.layout(text(a[0]))
                let time: GoInstant
                switch a[1] {
                case .instant(let given): time = given
                case .int(let seconds): time = GoInstant(seconds: Int64(seconds), nanosecond: 0)
                // Source: sprig `dateInZone`: what is no time is now.
                default: time = LogTemplateFunctions.time(a[2])
                }
                return .string(GoTime.format(time.inUTC, layout))
            }.withInput(nowInput),
            "toDate": TemplateFunction([.string, .string]) { a in
                .instant(GoTime.parse(text(a[0]), text(a[1])) ?? .zero)
            },
            "toDateInZone": TemplateFunction([.string, .string, .string]) {
                (a) throws(GoTemplateError) in
                guard case .function(let read) = a[3] else { return .instant(.zero) }
                return try read.body(Array(a[..<3]))
            }.withInput(zonesInput),
            "unixEpoch": TemplateFunction([.time]) { .string(String(time($0[0]).seconds)) },
            "unixEpochMillis": TemplateFunction([.time]) {
                .string(String(time($0[0]).unixMilliseconds))
            },
            "unixEpochNanos": TemplateFunction([.time]) {
                .string(String(time($0[0]).unixNanoseconds))
            },
            "unixToTime": TemplateFunction([.string]) { (a) throws(GoTemplateError) in
                .instant(try instant(ofEpoch: text(a[0])))
            },
        ]
    }

    /// The unit of an epoch is told by its length. Source: Loki `unixToTime`.
    private static func instant(ofEpoch text: String) throws(GoTemplateError) -> GoInstant {
        let complaint = "unable to parse time '\(text)': "
        guard let value = LogTemplateNumbers.decimalInteger(text) else {
            let isTooLarge = LogTemplateNumbers.isDecimal(text)
            throw .function(
                complaint + "strconv.ParseInt: parsing \(GoText.quoted(text)): "
                    + (isTooLarge ? "value out of range" : "invalid syntax"))
        }
        switch text.utf8.count {
        case 5: return GoInstant(seconds: value * 86_400, nanosecond: 0)
        case 10: return GoInstant(seconds: value, nanosecond: 0)
        case 13: return GoInstant(nanoseconds: value &* 1_000_000)
        case 16: return GoInstant(nanoseconds: value &* 1000)
        case 19: return GoInstant(nanoseconds: value)
        // Go prints the error that there is none of.
        default: throw .function(complaint + "%!w(<nil>)")
        }
    }

    // MARK: - Regular expressions

    private static func regexes(_ cache: TemplateRegexCache) -> [String: TemplateFunction] {
        [
            "count": TemplateFunction([.string, .string]) { (a) throws(GoTemplateError) in
                .int(try cache.regex(text(a[0])).allMatches(in: text(a[1])).count)
            },
            "regexReplaceAll": TemplateFunction([.string, .string, .string]) {
                (a) throws(GoTemplateError) in
                let replacement = text(a[2])
                return try replacing(cache.regex(text(a[0])), text(a[1])) {
                    $0.expand(replacement)
                }
            },
            "regexReplaceAllLiteral": TemplateFunction([.string, .string, .string]) {
                (a) throws(GoTemplateError) in
                let replacement = text(a[2])
                return try replacing(cache.regex(text(a[0])), text(a[1])) { _ in replacement }
            },
        ]
    }

    private static func replacing(
        _ regex: LinearRegex, _ text: String,
        _ replacement: (RegexMatch) -> String
    ) throws(GoTemplateError) -> TemplateValue {
        let matches = regex.allMatches(in: text)
        guard !matches.isEmpty else { return .string(text) }
        let bytes = Array(text.utf8)
        var result: [UInt8] = []
        var position = 0
        for match in matches {
            result += bytes[position..<match.range.lowerBound]
            result += replacement(match).utf8
            position = match.range.upperBound
            guard result.count <= resultBytesMax else { throw tooLong() }
        }
        result += bytes[position...]
        return .string(String(decoding: result, as: UTF8.self))
    }
}
