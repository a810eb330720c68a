/// The signature of a function. Source: Prometheus 3.14 `promql/parser/functions.go`.
package struct PromQLFunction: Hashable, Sendable {
    package let name: String
    /// The types of the arguments; further ones have the last type.
    package let argumentTypes: [ValueType]
    /// The fewest arguments.
    package let argumentsMin: Int
    /// The most arguments, nil where there is no bound.
    package let argumentsMax: Int?
    package let returnType: ValueType
    /// Whether Prometheus keeps it behind `promql-experimental-functions`.
    package let isExperimental: Bool

    /// The type that argument `index`, counted from 0, must have; nil where there is no such argument.
    package func type(ofArgument index: Int) -> ValueType? {
        if index < argumentTypes.count { return argumentTypes[index] }
        return argumentsMax == argumentsMin ? nil : argumentTypes.last
    }

    /// All functions by name.
    package static let all: [String: PromQLFunction] = Dictionary(
        uniqueKeysWithValues: signatures.flatMap { signature in
            signature.names.split(separator: " ").map { name in
                (String(name), signature.function(String(name)))
            }
        })

    /// Names that share a signature.
    private struct Signature {
        var names: String
        var arguments: [ValueType]
        /// How many arguments more than `arguments` without its last there may be; 0 for none optional, nil for any.
        var optional: Int?
        var returns: ValueType
        var isExperimental: Bool

        init(
            _ names: String, _ arguments: [ValueType], optional: Int? = 0,
            returns: ValueType = .vector, isExperimental: Bool = false
        ) {
            self.names = names
            self.arguments = arguments
            self.optional = optional
            self.returns = returns
            self.isExperimental = isExperimental
        }

        func function(_ name: String) -> PromQLFunction {
            let argumentsMin = optional == 0 ? arguments.count : arguments.count - 1
            return PromQLFunction(
                name: name, argumentTypes: arguments, argumentsMin: argumentsMin,
                argumentsMax: optional.map { argumentsMin + $0 }, returnType: returns,
                isExperimental: isExperimental)
        }
    }

    private static let signatures: [Signature] = [
        Signature(
            """
            abs absent acos acosh asin asinh atan atanh ceil cos cosh deg exp floor \
            histogram_avg histogram_count histogram_stddev histogram_stdvar histogram_sum ln log10 \
            log2 rad sgn sin sinh sort sort_desc sqrt tan tanh timestamp
            """, [.vector]),
        Signature("start_timestamp", [.vector], isExperimental: true),
        Signature(
            """
            absent_over_time avg_over_time changes count_over_time delta deriv first_over_time \
            idelta increase irate last_over_time max_over_time min_over_time present_over_time \
            rate resets stddev_over_time stdvar_over_time sum_over_time
            """, [.matrix]),
        Signature(
            """
            mad_over_time ts_of_first_over_time ts_of_last_over_time ts_of_max_over_time \
            ts_of_min_over_time
            """, [.matrix], isExperimental: true),
        Signature(
            "day_of_month day_of_week day_of_year days_in_month hour minute month year",
            [.vector], optional: 1),
        Signature("round", [.vector, .scalar], optional: 1),
        Signature("clamp", [.vector, .scalar, .scalar]),
        Signature("clamp_max clamp_min", [.vector, .scalar]),
        Signature("predict_linear", [.matrix, .scalar]),
        Signature("quantile_over_time", [.scalar, .matrix]),
        Signature(
            "double_exponential_smoothing", [.matrix, .scalar, .scalar], isExperimental: true),
        Signature("histogram_fraction", [.scalar, .scalar, .vector]),
        Signature("histogram_quantile", [.scalar, .vector]),
        Signature(
            "histogram_quantiles", [.vector, .string, .scalar, .scalar], optional: 9,
            isExperimental: true),
        Signature("info", [.vector, .vector], optional: 1, isExperimental: true),
        Signature("label_join", [.vector, .string, .string, .string], optional: nil),
        Signature("label_replace", [.vector, .string, .string, .string, .string]),
        Signature(
            "sort_by_label sort_by_label_desc", [.vector, .string], optional: nil,
            isExperimental: true),
        Signature("scalar", [.vector], returns: .scalar),
        Signature("vector", [.scalar]),
        Signature("pi time", [], returns: .scalar),
        Signature("end range start step", [], returns: .scalar, isExperimental: true),
        Signature("max_of min_of", [.scalar, .scalar], returns: .scalar, isExperimental: true),
    ]
}
