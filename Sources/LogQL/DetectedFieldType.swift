import LogQLSyntax

/// What the values of a field look like, by the one looked at last. Source: Loki 3.6 `detected_fields`.
package enum DetectedFieldType: String, Hashable, Sendable {
    case string, int, float, boolean, duration, bytes

    /// Of a value: the first of whole number, number, truth value, duration and size that Go's readers take it for.
    package init(of value: String) {
        if Int64(value) != nil {
            self = .int
        } else if case .value = GoNumberReader.float(value) {
            self = .float
        } else if Self.truthValues.contains(value) {
            self = .boolean
        } else if parseGoDuration(value) != nil {
            self = .duration
        } else if parseSize(value) != nil {
            self = .bytes
        } else {
            self = .string
        }
    }

    /// Source: Go 1.24 `strconv.ParseBool`.
    private static let truthValues: Set<String> = [
        "1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False",
    ]
}
