/// The straight line through points by least squares, with x in seconds.
///
/// Source: Prometheus 3.14 `linearRegression`.
package struct LinearRegression: Sendable {
    package let slope: Double
    /// The line's value at the intercept time.
    package let intercept: Double

    /// The line through (`timestamps[i]`, `values[i]`) for i in `range`; timestamps in milliseconds.
    ///
    /// A constant series has slope 0 and its value as intercept (NaN where infinite). `range` isn't empty.
    package init(
        timestamps: [Int64], values: [Double], in range: Range<Int>, interceptAt time: Int64
    ) {
        precondition(!range.isEmpty && range.upperBound <= values.count, "regression out of bounds")
        let first = values[range.lowerBound]
        var isConstant = true
        var sumX = KahanSum()
        var sumY = KahanSum()
        var sumXY = KahanSum()
        var sumX2 = KahanSum()
        for index in range {
            if isConstant, index > range.lowerBound, values[index] != first { isConstant = false }
            let x = Double(timestamps[index] - time) / 1000
            sumX.add(x)
            sumY.add(values[index])
            sumXY.add(x * values[index])
            sumX2.add(x * x)
        }
        if isConstant {
            slope = first.isInfinite ? .nan : 0
            intercept = first.isInfinite ? .nan : first
            return
        }
        let count = Double(range.count)
        let covariance = sumXY.value - sumX.value * sumY.value / count
        let variance = sumX2.value - sumX.value * sumX.value / count
        slope = covariance / variance
        intercept = sumY.value / count - slope * sumX.value / count
    }
}
