/// What clocks show at an instant: how far they are from UTC, and what that is called. Source: Go 1.24 `time.Time.Zone`.
package struct GoOffset: Hashable, Sendable {
    /// East of Greenwich.
    var seconds: Int
    /// Empty where only the number is known.
    var name: String

    static let utc = GoOffset(seconds: 0, name: "UTC")

    /// As it is written where there is no name: `+0530`.
    var digits: String {
        text(isZulu: false, hasColons: false, hasMinutes: true, hasSeconds: false)
    }

    func text(isZulu: Bool, hasColons: Bool, hasMinutes: Bool, hasSeconds: Bool) -> String {
        if isZulu, seconds == 0 { return "Z" }
        let size = Int(seconds.magnitude)
        let separator = hasColons ? ":" : ""
        return (seconds / 60 < 0 ? "-" : "+") + GoTime.padded(size / 3600, 2)
            + (hasMinutes ? separator + GoTime.padded(size / 60 % 60, 2) : "")
            + (hasSeconds ? separator + GoTime.padded(size % 60, 2) : "")
    }
}
