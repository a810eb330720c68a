package import Model

/// A value that a template computes with: what Go's `interface{}` holds there.
package indirect enum TemplateValue: Sendable {
    /// Go's nil, and a missing key of `map`; prints as `<no value>`.
    case null
    case bool(Bool)
    case int(Int)
    case float(Double)
    case string(String)
    case list([TemplateValue])
    /// Ranges in key order; a missing key is `null`.
    case map([String: TemplateValue])
    /// As `map[string]string` under `missingkey=zero`: a missing key is the empty string.
    case stringMap([String: String])
    /// As a `stringMap` of which only the fields are known that a template names: their values in the order of its
    /// `GoTemplate.fieldNames`. For templates that do not use their data as a whole.
    case record([String])
    /// An instant, UTC.
    case instant(GoInstant)
    case duration(nanoseconds: Int64)
    case object(TemplateObject)
    case function(TemplateFunction)
}

/// A value with fields and methods, as a Go struct or named type; an unknown field is an error.
package struct TemplateObject: Sendable {
    /// Names the type in error messages.
    package var typeName: String
    package var fields: [String: TemplateValue]
    package var methods: [String: TemplateFunction]
    /// The map, list or text it is beside its methods: what `range`, `len`, `index` and printing see.
    package var base: TemplateValue?

    package init(
        _ typeName: String, fields: [String: TemplateValue] = [:],
        methods: [String: TemplateFunction] = [:], base: TemplateValue? = nil
    ) {
        self.typeName = typeName
        self.fields = fields
        self.methods = methods
        self.base = base
    }
}

/// A function or method that templates call.
package struct TemplateFunction: Sendable {
    /// Gets the arguments in order, the piped one last; throws `GoTemplateError.function` for wrong ones.
    package typealias Body =
        @Sendable (_ arguments: [TemplateValue]) throws(GoTemplateError) -> TemplateValue

    /// How many arguments it takes, inclusive.
    package var arity: ClosedRange<Int>
    package var body: Body
    /// Types of the first arguments; those beyond are `rest`. Arguments are checked before `body` gets them.
    private var parameters: [TemplateParameter] = []
    private var rest = TemplateParameter.any
    /// The number of the expansion's input that `body` gets behind the arguments.
    private(set) var input: Int?

    package init(_ arity: ClosedRange<Int>, _ body: @escaping Body) {
        self.arity = arity
        self.body = body
    }

    /// A function of `parameters`, then of at most `restMax` more arguments of type `rest`.
    package init(
        _ parameters: [TemplateParameter], rest: TemplateParameter = .any, restMax: Int = 0,
        _ body: @escaping Body
    ) {
        let (most, overflow) = parameters.count.addingReportingOverflow(restMax)
        arity = parameters.count...(overflow ? .max : most)
        self.parameters = parameters
        self.rest = rest
        self.body = body
    }

    /// This function, with one of the inputs that each expansion is given as its last argument.
    package func withInput(_ number: Int) -> TemplateFunction {
        var function = self
        function.input = number
        return function
    }

    /// A function without arguments whose result is given with each expansion.
    package static func input(_ number: Int) -> TemplateFunction {
        TemplateFunction([]) { $0[0] }.withInput(number)
    }

    /// The type of argument `index`.
    func parameter(_ index: Int) -> TemplateParameter {
        index < parameters.count ? parameters[index] : rest
    }
}

/// The type of an argument, as Go names it.
package enum TemplateParameter: String, Hashable, Sendable {
    case any = "interface {}"
    case bool = "bool"
    case string = "string"
    case int = "int"
    case float = "float64"
    case time = "time.Time"
}

extension TemplateValue {
    /// The name of the Go type, for error messages and `%T`.
    package var typeName: String {
        switch self {
        case .null: "<nil>"
        case .bool: "bool"
        case .int: "int"
        case .float: "float64"
        case .string: "string"
        case .list: "[]interface {}"
        case .map: "map[string]interface {}"
        case .stringMap, .record: "map[string]string"
        case .instant: "time.Time"
        case .duration: "time.Duration"
        case .object(let object): object.typeName
        case .function: "func"
        }
    }

    /// Whether `if` takes it as true: not nil, zero or empty; a struct always is.
    package var isTrue: Bool {
        switch self {
        case .null: false
        case .bool(let value): value
        case .int(let value): value != 0
        case .float(let value): value != 0
        case .string(let value): !value.isEmpty
        case .list(let items): !items.isEmpty
        case .map(let entries): !entries.isEmpty
        case .stringMap(let entries): !entries.isEmpty
        case .instant, .function, .record: true
        case .duration(let nanoseconds): nanoseconds != 0
        case .object(let object): object.base?.isTrue ?? true
        }
    }

    /// The text that an action prints: Go's `%v`.
    package var text: String {
        switch self {
        case .null: "<no value>"
        case .bool(let value): value ? "true" : "false"
        case .int(let value): String(value)
        case .float(let value): GoFloat.shortest(value)
        case .string(let value): value
        case .list(let items): "[" + items.map(\.nestedText).joined(separator: " ") + "]"
        case .map(let entries):
            "map["
                + entries.sorted { bytesPrecede($0.key, $1.key) }
                .map { "\($0.key):\($0.value.nestedText)" }.joined(separator: " ") + "]"
        case .stringMap(let entries):
            "map["
                + entries.sorted { bytesPrecede($0.key, $1.key) }.map { "\($0.key):\($0.value)" }
                .joined(separator: " ") + "]"
        case .record: "map[]"
        case .instant(let time): GoTime.text(time)
        case .duration(let nanoseconds): GoTime.duration(nanoseconds)
        case .object(let object):
            object.base?.text
                ?? "{"
                + object.fields.sorted { bytesPrecede($0.key, $1.key) }
                .map(\.value.nestedText).joined(separator: " ") + "}"
        case .function: "func"
        }
    }

    private var nestedText: String {
        if case .null = self { return "<nil>" }
        return text
    }

    /// The value without its methods.
    var plain: TemplateValue {
        if case .object(let object) = self, let base = object.base { return base.plain }
        return self
    }

    /// An instant, UTC.
    package static func time(_ time: TimestampNS) -> TemplateValue { .instant(GoInstant(time)) }

    /// A sample: a number, or a native histogram that prints as `histogramText` and can't be computed with.
    static func sample(_ value: Double, _ histogramText: String?) -> TemplateValue {
        guard let histogramText else { return .float(value) }
        return .object(
            TemplateObject("*histogram.FloatHistogram", base: .string(histogramText)))
    }

    /// A label set as `map[string]string`.
    package static func labels(_ labels: Labels) -> TemplateValue {
        // Names of different bytes may be one string to Swift.
        .stringMap(Dictionary(labels.map { ($0.name, $0.value) }) { $1 })
    }
}
