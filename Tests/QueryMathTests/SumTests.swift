import QueryMath
import Testing

struct SumTests {
    @Test func compensationKeepsSmallTerms() {
        var sum = KahanSum()
        for term in [1, 1e100, 1, -1e100] { sum.add(term) }
        #expect(sum.value == 2)
    }

    @Test func infinityStaysInfinite() {
        var sum = KahanSum()
        for term in [1, .infinity, 2] { sum.add(term) }
        #expect(sum.value == .infinity)
        sum.add(-.infinity)
        #expect(sum.value.isNaN)
    }

    @Test func meanOfHugeValuesDoesNotOverflow() {
        var mean = KahanMean()
        for _ in 0..<4 { mean.add(9.988465674311579e+307) }
        #expect(mean.value == 9.988465674311579e+307)
        #expect(mean.count == 4)
    }

    @Test func meanOfNothingIsNaN() {
        #expect(KahanMean().value.isNaN)
    }

    @Test(arguments: [
        (1.0, 1.0, true), (1.0, 1.0000001, true), (1.0, 1.00001, false), (0.0, 1e-300, false),
        (Double.nan, Double.nan, true), (Double.infinity, Double.infinity, true),
        (Double.infinity, -Double.infinity, false), (1.0, Double.nan, false),
        (Double(bitPattern: 0x7ff0_0000_0000_0002), Double.nan, false),
    ])
    func almost(a: Double, b: Double, expected: Bool) {
        #expect(almostEqual(a, b, epsilon: 1e-6) == expected)
    }

    @Test(arguments: [
        (0.5, [0.0, 1, 2], 1.0), (0.8, [0.0, 1, 4], 2.8), (-1, [1.0], -.infinity),
        (2, [1.0], .infinity), (0, [3.0, 4], 3.0), (1, [3.0, 4], 4.0),
    ])
    func quantiles(rank: Double, values: [Double], expected: Double) {
        #expect(almostEqual(quantile(rank, sorted: values), expected, epsilon: 1e-12))
    }

    @Test func quantileOfNothingIsNaN() {
        #expect(quantile(0.5, sorted: []).isNaN)
        #expect(quantile(.nan, sorted: [1]).isNaN)
    }

    @Test func regressionFindsTheLine() {
        let times = (0..<10).map { Int64($0) * 1000 + 1_700_000_000_000 }
        let line = LinearRegression(
            timestamps: times, values: (0..<10).map { 3 * Double($0) + 7 }, in: 0..<10,
            interceptAt: times[0])
        #expect(almostEqual(line.slope, 3, epsilon: 1e-9))
        #expect(almostEqual(line.intercept, 7, epsilon: 1e-9))
        let flat = LinearRegression(
            timestamps: times, values: [Double](repeating: 5, count: 10), in: 2..<9,
            interceptAt: times[0])
        #expect(flat.slope == 0)
        #expect(flat.intercept == 5)
    }
}
