/// Numbers for people. Source: Prometheus 3.14 template.go and common/helpers/templates/time.go.
package enum Humanize {
    private static let large = ["k", "M", "G", "T", "P", "E", "Z", "Y"]
    private static let small = ["m", "u", "n", "p", "f", "a", "z", "y"]
    private static let binary = ["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"]

    private static func four(_ value: Double) -> String {
        GoFloat.text(value, verb: "g", precision: 4)
    }

    /// With an SI prefix: 1234567 is `1.235M`.
    package static func decimal(_ value: Double) -> String {
        var value = value
        guard value != 0, value.isFinite else { return four(value) }
        var prefix = ""
        if abs(value) >= 1 {
            for next in large where abs(value) >= 1000 {
                prefix = next
                value /= 1000
            }
        } else {
            for next in small where abs(value) < 1 {
                prefix = next
                value *= 1000
            }
        }
        return four(value) + prefix
    }

    /// With a binary prefix: 1048576 is `1Mi`.
    package static func binary(_ value: Double) -> String {
        var value = value
        guard abs(value) > 1, value.isFinite else { return four(value) }
        var prefix = ""
        for next in binary where abs(value) >= 1024 {
            prefix = next
            value /= 1024
        }
        return four(value) + prefix
    }

    /// Seconds as `1d 2h 3m 4s`, below a second with a prefix: `500ms`.
    package static func duration(seconds value: Double) -> String {
        guard value.isFinite else { return four(value) }
        guard value != 0 else { return four(value) + "s" }
        guard abs(value) >= 1 else {
            var value = value
            var prefix = ""
            for next in small where abs(value) < 1 {
                prefix = next
                value *= 1000
            }
            return four(value) + prefix + "s"
        }
        let sign = value < 0 ? "-" : ""
        let size = abs(value)
        guard size < 9e18 else { return sign + four(size) + "s" }
        let whole = Int64(size)
        let (seconds, minutes) = (whole % 60, whole / 60 % 60)
        let (hours, days) = (whole / 3600 % 24, whole / 86_400)
        if days != 0 { return "\(sign)\(days)d \(hours)h \(minutes)m \(seconds)s" }
        if hours != 0 { return "\(sign)\(hours)h \(minutes)m \(seconds)s" }
        if minutes != 0 { return "\(sign)\(minutes)m \(seconds)s" }
        return sign + four(size) + "s"
    }

    /// A share as percent: 0.1234 is `12.34%`.
    package static func percentage(_ value: Double) -> String { four(value * 100) + "%" }
}
