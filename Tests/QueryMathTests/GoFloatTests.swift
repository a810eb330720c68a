import QueryMath
import Testing

struct GoFloatTests {
    @Test(arguments: [
        (0.0, "0"), (-0.0, "-0"), (1.0, "1"), (100.0, "100"), (0.1, "0.1"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"), (1.5e22, "1.5e+22"), (1e-6, "0.000001"), (9.9e-7, "9.9e-07"),
        (-2.5e-10, "-2.5e-10"), (1e100, "1e+100"), (Double.leastNonzeroMagnitude, "5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"), (123456789.125, "123456789.125"),
        (.infinity, "+Inf"), (-.infinity, "-Inf"), (.nan, "NaN"),
    ])
    func json(value: Double, expected: String) {
        #expect(GoFloat.json(value) == expected)
    }

    @Test(arguments: [
        (1e21, "1000000000000000000000"), (1e-7, "0.0000001"), (12.5, "12.5"),
        (1e22, "10000000000000000000000"),
    ])
    func plain(value: Double, expected: String) {
        #expect(GoFloat.plain(value) == expected)
    }

    @Test(arguments: [
        (1e-5, "1e-05"), (0.0001, "0.0001"), (123400, "123400"), (1e6, "1e+06"),
        (2349209.324, "2.349209324e+06"),
    ])
    func general(value: Double, expected: String) {
        #expect(GoFloat.general(value) == expected)
    }

    @Test(arguments: [
        (150.0, "1.5e+02"), (0.9996, "1"), (5.0, "5"), (12.0, "12"), (1.26, "1.3"), (0.0, "0"),
        (99.6, "1e+02"), (0.00001234, "1.2e-05"), (-2.04, "-2"),
    ])
    func twoDigits(value: Double, expected: String) {
        #expect(GoFloat.general(value, digits: 2) == expected)
    }

    @Test(arguments: [
        (1.0, "1.0"), (0.0, "0.0"), (0.25, "0.25"), (1e6, "1e+06"), (.infinity, "+Inf"),
    ])
    func openMetrics(value: Double, expected: String) {
        #expect(GoFloat.openMetrics(value) == expected)
    }

    @Test("the short way to JSON writes what the long one does")
    func appended() {
        var state: UInt64 = 42
        func roll() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state
        }
        var values: [Double] = [
            0, -0.0, .nan, .infinity, -.infinity, 1e15, 1e15 - 1, 999_999_999_999_999.9, 1e-3, 1e-4,
            0.00099, 9.5e-7, 1e21, .leastNonzeroMagnitude, .greatestFiniteMagnitude, 0.1 + 0.2, 10,
            100, 1_000_000,
        ]
        for _ in 0..<20_000 {
            values.append(Double(bitPattern: roll()))
            values.append(Double(roll() >> 11) / Double(1 << (roll() % 60)))
            values.append(Double(Int64(truncatingIfNeeded: roll()) >> Int64(roll() % 60)))
            values.append(Double(roll() % 1_000_000) / 1000)
        }
        for value in values {
            var bytes: [UInt8] = [120]
            GoFloat.append(json: value, to: &bytes)
            #expect(String(decoding: bytes, as: UTF8.self) == "x" + GoFloat.json(value))
        }
        for number in [0, 9, 10, 1_795_689_076, UInt64.max] {
            var bytes: [UInt8] = []
            GoFloat.append(number, to: &bytes)
            #expect(String(decoding: bytes, as: UTF8.self) == String(number))
        }
    }
}
