import ArgumentParser
import Glibc

/// How long a case is measured.
struct RunBounds: ParsableArguments {
    @Option(name: .customLong("case-seconds"), help: "Stop a case after so many seconds.")
    var caseSeconds = 0.3

    @Option(
        name: .customLong("runs"), help: "Stop a case after so many runs, or batches of short ones."
    )
    var runsMax = 300

    func validate() throws {
        guard caseSeconds > 0, caseSeconds <= 600 else {
            throw ValidationError("--case-seconds: above 0, at most 600")
        }
        guard (1...100_000).contains(runsMax) else {
            throw ValidationError("--runs: 1 to 100,000")
        }
    }
}

/// What the runs of a case took: CPU time of this process, in which what neighbours take is not counted.
struct Measurement {
    var runs: Int
    var medianMS: Double
    var leastMS: Double

    /// Runs that a median needs, and how many times `caseSeconds` they may take where each is long.
    private static let runsMin = 3
    private static let patience = 10.0
    /// So much of CPU time is measured at once, so that the clock's resolution, a microsecond, does not count.
    private static let batchMS = 1.0
    private static let batchMax = 1_000

    /// Runs `body` once unmeasured, then until a bound is reached, once at least.
    static func take(_ bounds: RunBounds, _ body: () throws -> Void) rethrows -> Measurement {
        let first = try milliseconds(of: 1, body)
        let batch = first > 0 ? min(batchMax, Int(batchMS / first) + 1) : batchMax
        let wall = ContinuousClock()
        let start = wall.now
        let end = start + .seconds(bounds.caseSeconds)
        let lastEnd = start + .seconds(bounds.caseSeconds * patience)
        var times: [Double] = []
        repeat {
            times.append(try milliseconds(of: batch, body))
        } while times.count < bounds.runsMax
            && wall.now < (times.count < runsMin ? lastEnd : end)
        times.sort()
        let middle = times.count / 2
        let median =
            times.count % 2 == 1 ? times[middle] : (times[middle - 1] + times[middle]) / 2
        return Measurement(runs: times.count * batch, medianMS: median, leastMS: times[0])
    }

    /// What one of `count` runs in a row takes.
    private static func milliseconds(
        of count: Int, _ body: () throws -> Void
    ) rethrows -> Double {
        let before = clock()
        for _ in 0..<count { try body() }
        return Double(clock() - before) / Double(CLOCKS_PER_SEC) * 1e3 / Double(count)
    }
}

/// What is said of one case, as a line of JSON.
struct ResultLine: CustomStringConvertible {
    private var fields: [(name: String, value: String)] = []
    private(set) var isFailure = false

    init(kernel: String, name: String) {
        fields = [("kernel", Self.quoted(kernel)), ("case", Self.quoted(name))]
    }

    mutating func add(_ name: String, _ value: Int) { fields.append((name, "\(value)")) }

    /// Finite.
    mutating func add(_ name: String, _ value: Double) {
        precondition(value.isFinite, "\(name) is no number of JSON")
        fields.append((name, "\(value)"))
    }

    /// What was measured of `samples` samples.
    mutating func add(_ measurement: Measurement, samples: Int) {
        add("runs", measurement.runs)
        add("median_ms", measurement.medianMS)
        add("least_ms", measurement.leastMS)
        add("samples", samples)
        // A clock that did not move in between says nothing of a rate.
        guard measurement.medianMS > 0 else { return }
        add("samples_per_second", Double(samples) / measurement.medianMS * 1e3)
    }

    mutating func fail(_ error: any Error) {
        isFailure = true
        fields.append(("error", Self.quoted("\(error)")))
    }

    var description: String {
        "{" + fields.map { "\"\($0.name)\": \($0.value)" }.joined(separator: ", ") + "}"
    }

    private static func quoted(_ text: String) -> String {
        var quoted = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\": quoted += "\\\(scalar)"
            case _ where scalar.value < 0x20:
                let digits = String(scalar.value, radix: 16)
                quoted += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: quoted.unicodeScalars.append(scalar)
            }
        }
        return quoted + "\""
    }
}
