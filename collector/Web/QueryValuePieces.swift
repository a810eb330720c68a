import CollectorQuery
import Model
import PromQL
import Storage

/// `{"resultType": …, "result": …}`, with `stats` where there are any; what has been written of a matrix is let go.
struct QueryValuePieces: JSONPieces {
    /// Numbers, and histograms, that are written between two looks at how much there is.
    private static let numbersPerRun = 512
    private static let histogramsPerRun = 8

    private enum Place {
        case start
        case element(Int)
        /// Of the series at that index, from the sample at that index on.
        case numbers(series: Int, from: Int)
        case histograms(series: Int, from: Int)
        case end
        case over
    }

    private var value: QueryValue
    /// Those of a matrix.
    private var series: [SeriesColumns] = []
    private let limit: Int
    private let statistics: MetricStatistics?
    /// What the value takes of the budget of all queries.
    private let share: SampleShare?
    private var place = Place.start

    /// At most `limit` elements of a vector or a matrix.
    init(
        _ value: QueryValue, limit: Int = .max, statistics: MetricStatistics? = nil,
        share: SampleShare? = nil
    ) {
        self.value = value
        if case .matrix(let series) = value {
            self.series = series
            self.value = .matrix([])
        }
        self.limit = limit
        self.statistics = statistics
        self.share = share
    }

    mutating func write(to json: inout JSONWriter) -> Bool {
        switch place {
        case .start: begin(&json)
        case .element(let index): element(index, &json)
        case .numbers(let index, let first): numbers(index, first, &json)
        case .histograms(let index, let first): histograms(index, first, &json)
        case .end:
            if let statistics {
                json.key("stats")
                PrometheusEnvelope.write(statistics, to: &json)
            }
            json.endObject()
            place = .over
        case .over: return false
        }
        return true
    }

    private mutating func begin(_ json: inout JSONWriter) {
        json.beginObject()
        json.key("resultType")
        switch value {
        case .scalar(let sample):
            json.string("scalar")
            json.key("result")
            json.sample(sample.timestamp.rawValue, sample.value)
            place = .end
        case .string(let text, let time):
            json.string("string")
            json.key("result")
            json.array { json in
                json.seconds(ofMilliseconds: time.rawValue)
                json.string(text)
            }
            place = .end
        case .vector, .matrix:
            if case .vector = value { json.string("vector") } else { json.string("matrix") }
            json.key("result")
            json.beginArray()
            place = .element(0)
        }
    }

    private mutating func element(_ index: Int, _ json: inout JSONWriter) {
        if case .vector(let elements) = value {
            guard index < min(elements.count, limit) else { return endElements(&json) }
            PrometheusEnvelope.vectorElement(elements[index], to: &json)
            place = .element(index + 1)
            return
        }
        guard index < min(series.count, limit) else { return endElements(&json) }
        json.beginObject()
        json.key("metric")
        PrometheusEnvelope.labels(series[index].labels, to: &json)
        if !series[index].timestamps.isEmpty || series[index].histograms.isEmpty {
            json.key("values")
            json.beginArray()
            place = .numbers(series: index, from: 0)
        } else {
            beginHistograms(index, &json)
        }
    }

    private mutating func endElements(_ json: inout JSONWriter) {
        json.endArray()
        place = .end
    }

    private mutating func numbers(_ index: Int, _ first: Int, _ json: inout JSONWriter) {
        let count = series[index].timestamps.count
        let end = min(first + Self.numbersPerRun, count)
        for number in first..<end {
            json.sample(series[index].timestamps[number], series[index].values[number])
        }
        guard end == count else {
            place = .numbers(series: index, from: end)
            return
        }
        json.endArray()
        if series[index].histograms.isEmpty {
            endSeries(index, &json)
        } else {
            beginHistograms(index, &json)
        }
    }

    private mutating func beginHistograms(_ index: Int, _ json: inout JSONWriter) {
        json.key("histograms")
        json.beginArray()
        place = .histograms(series: index, from: 0)
    }

    private mutating func histograms(_ index: Int, _ first: Int, _ json: inout JSONWriter) {
        let count = series[index].histograms.count
        let end = min(first + Self.histogramsPerRun, count)
        for sample in series[index].histograms[first..<end] {
            PrometheusEnvelope.point(sample.timestamp, sample.histogram, to: &json)
        }
        guard end == count else {
            place = .histograms(series: index, from: end)
            return
        }
        json.endArray()
        endSeries(index, &json)
    }

    private mutating func endSeries(_ index: Int, _ json: inout JSONWriter) {
        json.endObject()
        series[index] = SeriesColumns(labels: .empty)
        place = .element(index + 1)
    }
}
