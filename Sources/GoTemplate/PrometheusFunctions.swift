package import Model

/// A sample that a template's `query` got.
package struct TemplateSample: Hashable, Sendable {
    /// With `__name__`, where the series has one.
    package var labels: Labels
    package var value: Double
    /// In place of `value` where the sample is a native histogram: how it prints.
    package var histogramText: String?

    package init(labels: Labels, value: Double, histogramText: String? = nil) {
        self.labels = labels
        self.value = value
        self.histogramText = histogramText
    }
}

/// Regular expressions as the caller runs them (RE2 syntax, unanchored). A bad pattern throws `.function`.
package struct TemplateRegex: Sendable {
    package typealias Matches =
        @Sendable (_ pattern: String, _ text: String) throws(GoTemplateError) -> Bool
    package typealias Replace =
        @Sendable (
            _ pattern: String, _ replacement: String, _ text: String
        ) throws(GoTemplateError) -> String

    package var matches: Matches
    /// Replaces every match; `$1` and `${name}` stand for groups, as in Go's ReplaceAllString.
    package var replaceAll: Replace

    package init(matches: @escaping Matches, replaceAll: @escaping Replace) {
        self.matches = matches
        self.replaceAll = replaceAll
    }

    /// Refuses every pattern: for parsing, and where no engine is at hand.
    package static let unavailable = TemplateRegex(
        matches: { (_, _) throws(GoTemplateError) in
            throw .function("regular expressions are not available here")
        },
        replaceAll: { (_, _, _) throws(GoTemplateError) in
            throw .function("regular expressions are not available here")
        })
}

/// What the functions of an alert's templates depend on beside their arguments.
package struct TemplateEnvironment: Sendable {
    package typealias Query =
        @Sendable (_ expression: String) throws(GoTemplateError) -> [TemplateSample]

    /// The evaluation's time.
    package var now: TimestampMS
    /// The collector's address as people reach it, without a slash at the end.
    package var externalURL: String
    package var externalLabels: Labels
    package var regex: TemplateRegex
    /// The instant vector of an expression at `now`.
    package var query: Query

    package init(
        now: TimestampMS, externalURL: String = "", externalLabels: Labels = .empty,
        regex: TemplateRegex = .unavailable,
        query: @escaping Query = { (text) throws(GoTemplateError) in throw .needsQuery(text) }
    ) {
        self.now = now
        self.externalURL = externalURL
        self.externalLabels = externalLabels
        self.regex = regex
        self.query = query
    }

    /// A query function over results gathered before: asking for another throws `GoTemplateError.needsQuery`, so
    /// that the caller can run that query and expand again.
    package static func answers(_ results: [String: [TemplateSample]]) -> Query {
        { (expression) throws(GoTemplateError) in
            guard let samples = results[expression] else { throw .needsQuery(expression) }
            return samples
        }
    }
}

/// The functions of Prometheus' alert templates. Source: Prometheus 3.14 template/template.go.
package enum PrometheusFunctions {
    /// The functions by name, for one expansion.
    package static func functions(
        _ environment: TemplateEnvironment
    ) -> [String: TemplateFunction] {
        vectors(environment).merging(texts(environment.regex)) { a, _ in a }
            .merging(numbers) { a, _ in a }.merging(links(environment)) { a, _ in a }
    }

    private static func sample(_ sample: TemplateSample) -> TemplateValue {
        .object(
            TemplateObject(
                "*template.sample",
                fields: [
                    "Labels": .labels(sample.labels),
                    "Value": .sample(sample.value, sample.histogramText),
                ]))
    }

    private static func field(
        _ value: TemplateValue, _ name: String
    ) throws(GoTemplateError) -> TemplateValue {
        guard case .object(let object) = value, let field = object.fields[name] else {
            throw .function("expected a sample of a query, got \(value.typeName)")
        }
        return field
    }

    private static func label(
        _ name: String, of sample: TemplateValue
    ) throws(GoTemplateError) -> String {
        guard case .stringMap(let labels) = try field(sample, "Labels") else { return "" }
        return labels[name] ?? ""
    }

    private static func list(_ value: TemplateValue) throws(GoTemplateError) -> [TemplateValue] {
        guard case .list(let items) = value.plain else {
            throw .function("expected the result of a query, got \(value.typeName)")
        }
        return items
    }

    private static func vectors(
        _ environment: TemplateEnvironment
    ) -> [String: TemplateFunction] {
        [
            "query": TemplateFunction(1...1) { (a) throws(GoTemplateError) in
                .list(try environment.query(a[0].requireString()).map(sample))
            },
            "first": TemplateFunction(1...1) { (a) throws(GoTemplateError) in
                guard let first = try list(a[0]).first else {
                    throw .function("first() called on vector with no elements")
                }
                return first
            },
            "label": TemplateFunction(2...2) { (a) throws(GoTemplateError) in
                .string(try label(a[0].requireString(), of: a[1]))
            },
            "value": TemplateFunction(1...1) { (a) throws(GoTemplateError) in
                try field(a[0], "Value")
            },
            "strvalue": TemplateFunction(1...1) { (a) throws(GoTemplateError) in
                .string(try label("__value__", of: a[0]))
            },
            "sortByLabel": TemplateFunction(2...2) { (a) throws(GoTemplateError) in
                let name = try a[0].requireString()
                var keyed: [(key: String, index: Int, value: TemplateValue)] = []
                for (index, item) in try list(a[1]).enumerated() {
                    keyed.append((try label(name, of: item), index, item))
                }
                keyed.sort { $0.key == $1.key ? $0.index < $1.index : bytesPrecede($0.key, $1.key) }
                return .list(keyed.map(\.value))
            },
            "args": TemplateFunction(0...Int.max) { a in
                .map(
                    Dictionary(
                        uniqueKeysWithValues: a.enumerated().map { ("arg\($0.offset)", $0.element) }
                    ))
            },
        ]
    }

    private static func texts(_ regex: TemplateRegex) -> [String: TemplateFunction] {
        let mapped = { (change: @escaping @Sendable (String) -> String) in
            TemplateFunction(1...1) { (a) throws(GoTemplateError) in
                .string(change(try a[0].requireString()))
            }
        }
        return [
            "reReplaceAll": TemplateFunction(3...3) { (a) throws(GoTemplateError) in
                .string(
                    try regex.replaceAll(
                        a[0].requireString(), a[1].requireString(), a[2].requireString()))
            },
            "match": TemplateFunction(2...2) { (a) throws(GoTemplateError) in
                .bool(try regex.matches(a[0].requireString(), a[1].requireString()))
            },
            "title": mapped(title), "toUpper": mapped(upper),
            "toLower": mapped { $0.lowercased() }, "stripPort": mapped(HostText.withoutPort),
            "stripDomain": mapped(HostText.withoutDomain), "safeHtml": mapped { $0 },
            "urlQueryEscape": mapped(TemplateEscape.query),
        ]
    }

    /// Upper case letter by letter, as Go: one letter never becomes two.
    static func upper(_ text: String) -> String {
        var upper = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            let mapping = scalar.properties.uppercaseMapping.unicodeScalars
            upper.append(mapping.count == 1 ? mapping.first ?? scalar : scalar)
        }
        return String(upper)
    }

    /// The first letter of each word in upper case. Source: Go strings.Title.
    static func title(_ text: String) -> String {
        var titled = ""
        var isInWord = false
        for character in text {
            let isWordPart = character.isLetter || character.isNumber || character == "_"
            titled += isWordPart && !isInWord ? upper(String(character)) : String(character)
            isInWord = isWordPart
        }
        return titled
    }

    /// A number from a number, a text of one or a duration in seconds.
    static func number(_ value: TemplateValue) throws(GoTemplateError) -> Double {
        switch value.plain {
        case .float(let number): return number
        case .int(let number): return Double(number)
        case .duration(let nanoseconds): return Double(nanoseconds) / 1e9
        case .string(let text):
            if let number = Double(text) { return number }
            throw .function("can't read \(GoFormat.quoted(text)) as a number")
        case .null, .bool, .list, .map, .stringMap, .record, .instant, .object, .function:
            throw .function("can't convert \(value.typeName) to float")
        }
    }

    private static func time(_ seconds: Double) throws(GoTemplateError) -> TimestampNS {
        let nanoseconds = seconds * 1e9
        guard nanoseconds.isFinite, abs(nanoseconds) < 9.2e18 else {
            throw .function(
                "\(GoFloat.shortest(seconds)) cannot be represented as a nanoseconds timestamp")
        }
        return TimestampNS(Int64(nanoseconds))
    }

    private static let numbers: [String: TemplateFunction] = {
        let mapped = { (change: @escaping @Sendable (Double) -> String) in
            TemplateFunction(1...1) { (a) throws(GoTemplateError) in
                .string(change(try number(a[0])))
            }
        }
        return [
            "humanize": mapped(Humanize.decimal), "humanize1024": mapped(Humanize.binary),
            "humanizeDuration": mapped { Humanize.duration(seconds: $0) },
            "humanizePercentage": mapped(Humanize.percentage),
            "humanizeTimestamp": TemplateFunction(1...1) { (a) throws(GoTemplateError) in
                let seconds = try number(a[0])
                guard seconds.isFinite else { return .string(GoFloat.shortest(seconds)) }
                return .string(GoTime.text(GoInstant(try time(seconds))))
            },
            "toTime": TemplateFunction(1...1) { (a) throws(GoTemplateError) in
                .time(try time(number(a[0])))
            },
            "toDuration": TemplateFunction(1...1) { (a) throws(GoTemplateError) in
                .duration(nanoseconds: try time(number(a[0])).rawValue)
            },
            "parseDuration": TemplateFunction(1...1) { (a) throws(GoTemplateError) in
                let text = try a[0].requireString()
                let isNegative = text.hasPrefix("-")
                guard
                    let duration = PrometheusDuration(isNegative ? String(text.dropFirst()) : text)
                else { throw .function("not a valid duration string: \(GoFormat.quoted(text))") }
                let seconds = Double(duration.milliseconds) / 1000
                return .float(isNegative ? -seconds : seconds)
            },
        ]
    }()

    private static func links(_ environment: TemplateEnvironment) -> [String: TemplateFunction] {
        [
            "externalURL": TemplateFunction(0...0) { _ in .string(environment.externalURL) },
            "pathPrefix": TemplateFunction(0...0) { _ in
                .string(HostText.path(ofURL: environment.externalURL))
            },
            "now": TemplateFunction(0...0) { _ in .float(environment.now.seconds) },
            "tableLink": TemplateFunction(1...1) { (a) throws(GoTemplateError) in
                let expression = TemplateEscape.query(try a[0].requireString())
                return .string("/graph?g0.expr=\(expression)&g0.tab=1")
            },
            "graphLink": TemplateFunction(1...1) { (a) throws(GoTemplateError) in
                let expression = TemplateEscape.query(try a[0].requireString())
                return .string("/graph?g0.expr=\(expression)&g0.tab=0")
            },
        ]
    }
}

/// Parts of `host:port` texts.
enum HostText {
    /// The host and the port; nil where there is no port. Brackets around an IPv6 address go.
    private static func split(_ text: String) -> (host: String, port: String)? {
        guard let colon = text.lastIndex(of: ":") else { return nil }
        let host = text[..<colon]
        let port = String(text[text.index(after: colon)...])
        if host.hasPrefix("["), host.hasSuffix("]") {
            return (String(host.dropFirst().dropLast()), port)
        }
        return host.contains(":") || host.contains("[") ? nil : (String(host), port)
    }

    static func withoutPort(_ text: String) -> String { split(text)?.host ?? text }

    /// The first name of a host name, its port kept; addresses stay whole.
    static func withoutDomain(_ text: String) -> String {
        let (host, port) = split(text) ?? (text, "")
        let bare = host.hasPrefix("[") ? String(host.dropFirst().dropLast()) : host
        let parts = bare.split(separator: ".", omittingEmptySubsequences: false)
        let isAddress =
            bare.contains(":") || (parts.count == 4 && parts.allSatisfy { UInt8($0) != nil })
        guard !isAddress, let first = parts.first else { return text }
        return String(first) + (port.isEmpty ? "" : ":" + port)
    }

    static func path(ofURL url: String) -> String {
        guard let scheme = url.firstRange(of: "://") else { return url }
        let rest = url[scheme.upperBound...]
        guard let slash = rest.firstIndex(of: "/") else { return "" }
        return String(rest[slash...].prefix { $0 != "?" && $0 != "#" })
    }
}
