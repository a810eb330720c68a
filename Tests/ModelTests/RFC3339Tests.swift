import Model
import Testing

@Suite("RFC 3339")
struct RFC3339Tests {
    @Test(
        "round trip",
        arguments: [
            (0, "1970-01-01T00:00:00Z"), (-1, "1969-12-31T23:59:59.999999999Z"),
            (951_782_400_000_000_000, "2000-02-29T00:00:00Z"),
            (1_795_316_645_123_000_000, "2026-11-22T03:04:05.123Z"),
            (4_107_542_400_000_001_000, "2100-03-01T00:00:00.000001Z"),
        ] as [(Int64, String)])
    func roundTrip(nanoseconds: Int64, text: String) {
        #expect(RFC3339.text(TimestampNS(nanoseconds)) == text)
        #expect(RFC3339.parse(text) == TimestampNS(nanoseconds))
    }

    @Test(
        "refuse",
        arguments: [
            "", "2026-11-22", "2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z",
            "2026-11-22T24:00:00Z",
            "2026-11-22T03:04:05", "2026-11-22T03:04:05.Z", "2026-11-22T03:04:05.1234567890Z",
            "2026-11-22T03:04:05Zx",
        ])
    func refuses(text: String) { #expect(RFC3339.parse(text) == nil) }

    @Test("offsets")
    func offsets() {
        #expect(
            RFC3339.parse("2026-11-22T05:04:05+02:00") == RFC3339.parse("2026-11-22T03:04:05Z"))
    }
}
