import Exposition
import Model
import Testing

@Suite("Exposition")
struct ExpositionTests {
    @Test(
        "numbers as Go prints them",
        arguments: [
            (0, "0"), (-0.0, "-0"), (1, "1"), (-1, "-1"), (0.1, "0.1"), (444.9, "444.9"),
            (100_000, "100000"), (999_999, "999999"), (1_000_000, "1e+06"),
            (1_500_000_000, "1.5e+09"), (1_418_183_276, "1.418183276e+09"),
            (38_014_093, "3.8014093e+07"), (35_184_372_087_808, "3.5184372087808e+13"),
            (9_653_880 * 0.001, "9653.880000000001"), (0.0001, "0.0001"),
            (0.00001, "1e-05"), (0.000123, "0.000123"), (1e21, "1e+21"), (1e100, "1e+100"),
            (123_456.5, "123456.5"), (1_234_567.5, "1.2345675e+06"),
            (2_077_872_228 * 0.001, "2.0778722280000001e+06"),
            (.infinity, "+Inf"), (-.infinity, "-Inf"), (.nan, "NaN"),
            (.leastNonzeroMagnitude, "5e-324"), (1.7976931348623157e308, "1.7976931348623157e+308"),
        ] as [(Double, String)])
    func floats(value: Double, expect: String) { #expect(GoFloat.text(value) == expect) }

    @Test("digits read back to the same bits")
    func roundTrip() {
        var state: UInt64 = 0x9e37_79b9_7f4a_7c15
        for _ in 0..<20_000 {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            let value = Double(bitPattern: state)
            guard value.isFinite else { continue }
            #expect(Double(GoFloat.text(value))?.bitPattern == value.bitPattern)
        }
    }

    @Test("families, points and escapes in one order")
    func text() {
        let families = [
            MetricFamily(
                "b_total", .counter, help: "Two\nlines \\ \"kept\".",
                points: [.init(["z": "1"], 2), .init(["a": "x\"y\\\n"], 1)]),
            MetricFamily("empty", .gauge, help: "never seen"),
            MetricFamily("a", .unknown, help: "", points: [.init(.empty, 1.5e9)]),
            MetricFamily("b_total", .counter, help: "Again.", points: [.init(["zz": "1"], 3)]),
            MetricFamily(
                "h", .histogram, help: "H.",
                points: [
                    .init(["__name__": "h_bucket", "le": "5"], 1),
                    .init(["__name__": "h_bucket", "le": "10"], 2),
                    .init(["__name__": "h_count"], 2),
                ]),
            MetricFamily("http.size", .gauge, help: "", points: [.init(["k.v": "w"], 7)]),
        ]
        let expect = """
            # TYPE a untyped
            a 1.5e+09
            # HELP b_total Two\\nlines \\\\ "kept".
            # TYPE b_total counter
            b_total{a="x\\"y\\\\\\n"} 1
            b_total{z="1"} 2
            b_total{zz="1"} 3
            # HELP h H.
            # TYPE h histogram
            h_bucket{le="5"} 1
            h_bucket{le="10"} 2
            h_count 2
            # TYPE "http.size" gauge
            {"http.size","k.v"="w"} 7

            """
        #expect(String(decoding: ExpositionWriter.text(families), as: UTF8.self) == expect)
    }
}
