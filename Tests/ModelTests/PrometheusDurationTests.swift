import Model
import Testing

@Suite("Prometheus durations")
struct PrometheusDurationTests {
    @Test(
        "parse and print",
        arguments: [
            ("0", 0, "0s"), ("1h30m", 5_400_000, "1h30m"), ("250ms", 250, "250ms"),
            ("1w", 604_800_000, "1w"), ("8d", 691_200_000, "8d"), ("90s", 90_000, "1m30s"),
            ("1y", 31_536_000_000, "1y"),
        ] as [(String, Int64, String)])
    func parses(text: String, milliseconds: Int64, printed: String) {
        let duration = PrometheusDuration(text)
        #expect(duration?.milliseconds == milliseconds)
        #expect(duration?.description == printed)
    }

    @Test("refuse", arguments: ["", "1", "1x", "m1", "1s1m", "1s1s", "-1s", "9999999999y", "1.5h"])
    func refuses(text: String) { #expect(PrometheusDuration(text) == nil) }
}
