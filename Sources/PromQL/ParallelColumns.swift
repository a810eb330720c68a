import Dispatch
import PromQLSyntax

extension Evaluator {
    /// Samples and points above which another thread is worth its while.
    private static let workPerThread = 200_000

    /// The threads on which `call` is computed for `series`: as many as the limits allow and are worth their while; 1 where
    /// computing it takes more than the samples: histograms, start timestamps, parameters, edges.
    func threadCount(_ call: RangeCallPlan, _ series: [RangeSeries], _ grid: StepGrid) -> Int {
        guard call.function.needsSamplesAlone, call.range.selector.edges == .plain,
            series.allSatisfy({ $0.histograms.isEmpty && $0.startTimestamps.isEmpty })
        else { return 1 }
        let work = series.reduce(0) { $0 + $1.values.count + grid.count }
        return max(
            1, min(parameters.limits.threadsMax, 1 + work / Self.workPerThread, series.count))
    }

    /// The results of `call` for each of `series`, computed on so many threads; for what `threadCount` lets more than one
    /// do.
    func columnsInParallel(
        _ call: RangeCallPlan, _ series: ArraySlice<RangeSeries>, _ grid: StepGrid, threads: Int
    ) -> [[Double]] {
        // Nothing in it changes; `PreparedQuery.evaluate` says that `isCancelled` is asked on other threads.
        nonisolated(unsafe) let windows = Windows(call.range, grid, isCancelled: isCancelled)
        let first = series.startIndex
        return [[Double]](unsafeUninitializedCapacity: series.count) { columns, initialized in
            // Each thread has places of its own.
            nonisolated(unsafe) let columns = columns
            DispatchQueue.concurrentPerform(iterations: min(threads, series.count)) { thread in
                for place in stride(from: thread, to: series.count, by: threads) {
                    // Few steps of long windows ask seldom; an empty column is thrown away with the query.
                    (columns.baseAddress! + place).initialize(
                        to: windows.isCancelled()
                            ? [] : plainColumn(call.function, series[first + place], windows))
                }
            }
            initialized = series.count
        }
    }
}

extension RangeFunction {
    fileprivate var needsSamplesAlone: Bool {
        switch self {
        case .quantile, .predictLinear, .doubleExponentialSmoothing: false
        default: true
        }
    }
}

/// A function of nothing but the samples in each window.
func plainColumn(
    _ function: RangeFunction, _ input: RangeSeries, _ windows: Windows
) -> [Double] {
    switch function {
    case .rate: rateColumn(input, windows, counter: true, perSecond: true)
    case .increase: rateColumn(input, windows, counter: true, perSecond: false)
    case .delta: rateColumn(input, windows, counter: false, perSecond: false)
    default: overTimeColumn(function, input, windows)
    }
}
