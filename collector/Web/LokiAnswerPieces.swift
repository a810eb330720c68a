import CollectorQuery
import LogQL
import Model
import QueryMath
import Storage

/// `{"resultType": …, "result": …, "stats": …}`; what has been written of streams and matrices is let go.
///
/// Source: Loki 3.6 `pkg/util/marshal`, its behaviour.
struct LokiAnswerPieces: JSONPieces {
    /// Numbers that are written between two looks at how much there is.
    private static let numbersPerRun = 512
    /// Bytes of lines likewise.
    private static let lineBytesPerRun = 64 << 10

    private enum Place {
        case start
        /// The stream, element or series at that index.
        case element(Int)
        case entries(stream: Int, from: Int)
        case numbers(series: Int, from: Int)
        case end
        case over
    }

    private var streams: [LogResultStream] = []
    private var elements: [MetricElement] = []
    private var series: [SeriesColumns] = []
    /// Of `elements`.
    private var time = TimestampMS(0)
    private var scalar: Double?
    private let type: String
    private let hasCategories: Bool
    private let statistics: LogStatistics
    private let paging: LogAnswer.Paging?
    /// Entries or samples of the answer.
    private let entryCount: Int
    private var place = Place.start

    init(_ answer: LogAnswer, hasCategories: Bool) {
        self.hasCategories = hasCategories
        statistics = answer.statistics
        paging = answer.paging
        switch answer.value {
        case .streams(let streams):
            type = "streams"
            self.streams = streams
            entryCount = streams.reduce(0) { $0 + $1.entries.count }
        case .metric(.scalar(let value, let time)):
            type = "scalar"
            scalar = value
            self.time = time
            entryCount = 1
        case .metric(.vector(let elements, let time)):
            type = "vector"
            self.elements = elements
            self.time = time
            entryCount = elements.count
        case .metric(.matrix(let series)):
            type = "matrix"
            self.series = series
            entryCount = series.reduce(0) { $0 + $1.timestamps.count }
        }
    }

    mutating func write(to json: inout JSONWriter) -> Bool {
        switch place {
        case .start: begin(&json)
        case .element(let index): element(index, &json)
        case .entries(let index, let first): entries(index, first, &json)
        case .numbers(let index, let first): numbers(index, first, &json)
        case .end:
            if let paging { Self.write(paging, to: &json) }
            json.key("stats")
            writeStatistics(&json)
            json.endObject()
            place = .over
        case .over: return false
        }
        return true
    }

    private mutating func begin(_ json: inout JSONWriter) {
        json.beginObject()
        json.key("resultType")
        json.string(type)
        if hasCategories {
            // Before the result: Grafana's parser reads it in a stream.
            json.key("encodingFlags")
            PrometheusEnvelope.strings(["categorize-labels"], to: &json)
        }
        json.key("result")
        if let scalar {
            json.lokiSample(time.rawValue, scalar)
            place = .end
        } else {
            json.beginArray()
            place = .element(0)
        }
    }

    private mutating func element(_ index: Int, _ json: inout JSONWriter) {
        if index < streams.count {
            json.beginObject()
            json.key("stream")
            LokiEnvelope.streamLabels(streams[index].labels, to: &json)
            json.key("values")
            json.beginArray()
            place = .entries(stream: index, from: 0)
        } else if index < elements.count {
            let time = time.rawValue
            let element = elements[index]
            json.object { json in
                json.key("metric")
                PrometheusEnvelope.labels(element.labels, to: &json)
                json.key("value")
                json.lokiSample(time, element.value)
            }
            place = .element(index + 1)
        } else if index < series.count {
            json.beginObject()
            json.key("metric")
            PrometheusEnvelope.labels(series[index].labels, to: &json)
            json.key("values")
            json.beginArray()
            place = .numbers(series: index, from: 0)
        } else {
            json.endArray()
            place = .end
        }
    }

    private mutating func entries(_ index: Int, _ first: Int, _ json: inout JSONWriter) {
        let count = streams[index].entries.count
        var next = first
        var byteCount = 0
        while next < count, byteCount < Self.lineBytesPerRun {
            json.lokiEntry(streams[index].entries[next], hasCategories: hasCategories)
            byteCount += streams[index].entries[next].line.count + 64
            next += 1
        }
        guard next == count else {
            place = .entries(stream: index, from: next)
            return
        }
        json.endArray()
        json.endObject()
        streams[index] = LogResultStream(labels: .empty)
        place = .element(index + 1)
    }

    private mutating func numbers(_ index: Int, _ first: Int, _ json: inout JSONWriter) {
        let count = series[index].timestamps.count
        let end = min(first + Self.numbersPerRun, count)
        for number in first..<end {
            json.lokiSample(series[index].timestamps[number], series[index].values[number])
        }
        guard end == count else {
            place = .numbers(series: index, from: end)
            return
        }
        json.endArray()
        json.endObject()
        series[index] = SeriesColumns(labels: .empty)
        place = .element(index + 1)
    }

    /// Not there unless the client asked for it: Loki has no such thing.
    private static func write(_ paging: LogAnswer.Paging, to json: inout JSONWriter) {
        json.key("petrel")
        json.object { json in
            guard let next = paging.next else { return }
            json.key("next")
            json.string(next.description)
        }
    }

    /// What the inspector of Grafana shows.
    private func writeStatistics(_ json: inout JSONWriter) {
        let seconds = Double(statistics.evaluationNanoseconds) / 1e9
        func rate(_ count: Int) -> Int64 {
            seconds > 0
                ? Int64(clamping: Int(exactly: (Double(count) / seconds).rounded()) ?? 0) : 0
        }
        json.object { json in
            json.key("summary")
            json.object { json in
                for (name, count) in [
                    ("bytesProcessedPerSecond", rate(statistics.scannedByteCount)),
                    ("linesProcessedPerSecond", rate(statistics.scannedLineCount)),
                    ("totalBytesProcessed", Int64(statistics.scannedByteCount)),
                    ("totalLinesProcessed", Int64(statistics.scannedLineCount)),
                ] {
                    json.key(name)
                    json.number(count)
                }
                json.key("execTime")
                json.number(seconds)
                json.key("queueTime")
                json.number(Double(statistics.queueNanoseconds) / 1e9)
                json.key("totalEntriesReturned")
                json.number(Int64(entryCount))
            }
        }
    }
}

extension JSONWriter {
    /// `["nanoseconds", "line"]`, and with categories the entry's fields behind it.
    mutating func lokiEntry(_ entry: LogResultEntry, hasCategories: Bool) {
        array { json in
            json.string(String(entry.timestamp.rawValue))
            json.string(bytes: entry.line)
            guard hasCategories else { return }
            json.object { json in
                for (name, labels) in [
                    ("structuredMetadata", entry.structuredMetadata), ("parsed", entry.parsed),
                ] where !labels.isEmpty {
                    json.key(name)
                    PrometheusEnvelope.labels(labels, to: &json)
                }
            }
        }
    }

    /// `[{"<timeKey>": "nanoseconds", "labels": {…}}, …]`: entries that a follower was too slow for.
    mutating func droppedEntries(
        _ dropped: [(labels: Labels, timestamp: TimestampNS)], timeKey: String
    ) {
        array { json in
            for (labels, timestamp) in dropped {
                json.object { json in
                    json.key(timeKey)
                    json.string(String(timestamp.rawValue))
                    json.key("labels")
                    PrometheusEnvelope.labels(labels, to: &json)
                }
            }
        }
    }

    /// `[seconds, "value"]`; the value never has an exponent.
    fileprivate mutating func lokiSample(_ milliseconds: Int64, _ value: Double) {
        array { json in
            json.seconds(ofMilliseconds: milliseconds)
            json.string(GoFloat.plain(value))
        }
    }
}
