import Model

/// Reads `prometheus.WriteRequest`.
struct RequestReaderV1 {
    private let limits: WriteRequest.Limits
    private var bucketRoom: Int
    private var exemplarRoom: Int

    init(_ limits: WriteRequest.Limits) {
        self.limits = limits
        bucketRoom = limits.bucketsMax
        exemplarRoom = limits.exemplarsMax
    }

    mutating func read(
        _ bytes: UnsafeRawBufferPointer, into request: inout WriteRequest
    ) throws(RemoteWriteError) {
        var cursor = WriteCursor(bytes, 0..<bytes.count, .request)
        while let key = try cursor.key() {
            switch key {
            case 1 << 3 | 2:
                var series = try cursor.nested(.timeSeries)
                try readSeries(&series, bodyCount: bytes.count, into: &request)
            case 3 << 3 | 2:
                guard request.metadata.count < limits.metadataMax else {
                    throw .tooMany("metadata", max: limits.metadataMax)
                }
                var metadata = try cursor.nested(.metadata)
                request.metadata.append(try Self.metadata(&metadata))
            // Fields of version 2: the body is not the message that its type says.
            case 4 << 3 | 2, 5 << 3 | 2: try cursor.skip(key, known: 1...5)
            default: try cursor.skip(key, known: 1...1)
            }
        }
    }

    private mutating func readSeries(
        _ cursor: inout WriteCursor, bodyCount: Int, into request: inout WriteRequest
    ) throws(RemoteWriteError) {
        var series = WriteRequest.Series(labels: cursor.at..<cursor.at)
        var labels = LabelPlace()
        while true {
            let start = cursor.at
            guard let key = try cursor.key() else { break }
            switch key {
            case 1 << 3 | 2:
                _ = try cursor.content()
                labels.take(start..<cursor.at, of: cursor)
            case 2 << 3 | 2:
                var sample = try cursor.nested(.sample)
                try Self.readSample(&sample, into: &request, limits)
                series.sampleCount += 1
            case 3 << 3 | 2:
                guard exemplarRoom > 0 else {
                    throw .tooMany("exemplars", max: limits.exemplarsMax)
                }
                exemplarRoom -= 1
                var exemplar = try cursor.nested(.exemplar)
                request.exemplars.append(
                    try Self.exemplar(&exemplar, bodyCount, &request.labelBytes))
                series.exemplarCount += 1
            case 4 << 3 | 2:
                var message = try cursor.nested(.histogram)
                try request.append(
                    try HistogramMessage(&message, room: &bucketRoom, limits), to: &series, limits)
            default: try cursor.skip(key, known: 1...4)
            }
        }
        series.labels = labels.place(bodyCount, &request.labelBytes)
        try request.append(series, limits)
    }

    /// Where a label set stands: in the body as it is, or gathered from pieces of it.
    private struct LabelPlace {
        private var range: Range<Int> = 0..<0
        /// What has been gathered; empty where all of it is at `range`.
        private var pieces: [UInt8] = []

        mutating func take(_ piece: Range<Int>, of cursor: WriteCursor) {
            if !pieces.isEmpty {
                pieces += cursor.slice(piece)
            } else if range.isEmpty {
                range = piece
            } else if range.upperBound == piece.lowerBound {
                range = range.lowerBound..<piece.upperBound
            } else {
                pieces = Array(cursor.slice(range)) + cursor.slice(piece)
            }
        }

        /// Where the set stands in a body of so many bytes with what was gathered behind it. Pieces come to the latter at
        /// once: those of another set, an exemplar's, may have come between them.
        func place(_ bodyCount: Int, _ gathered: inout [UInt8]) -> Range<Int> {
            guard !pieces.isEmpty else { return range }
            let start = bodyCount + gathered.count
            gathered += pieces
            return start..<bodyCount + gathered.count
        }
    }

    @inline(__always)
    private static func readSample(
        _ cursor: inout WriteCursor, into request: inout WriteRequest,
        _ limits: WriteRequest.Limits
    ) throws(RemoteWriteError) {
        var timestamp: Int64 = 0
        var value = 0.0
        while let key = try cursor.key() {
            switch key {
            case 1 << 3 | 1: value = try cursor.double()
            case 2 << 3: timestamp = try cursor.integer()
            default: try cursor.skip(key, known: 1...2)
            }
        }
        try request.append(timestamp, value, start: 0, limits)
    }

    private static func exemplar(
        _ cursor: inout WriteCursor, _ bodyCount: Int, _ gathered: inout [UInt8]
    ) throws(RemoteWriteError) -> WriteRequest.Exemplar {
        var exemplar = WriteRequest.Exemplar(labels: 0..<0, value: 0, timestamp: 0)
        var labels = LabelPlace()
        while true {
            let start = cursor.at
            guard let key = try cursor.key() else { break }
            switch key {
            case 1 << 3 | 2:
                _ = try cursor.content()
                labels.take(start..<cursor.at, of: cursor)
            case 2 << 3 | 1: exemplar.value = try cursor.double()
            case 3 << 3: exemplar.timestamp = try cursor.integer()
            default: try cursor.skip(key, known: 1...3)
            }
        }
        exemplar.labels = labels.place(bodyCount, &gathered)
        return exemplar
    }

    private static func metadata(
        _ cursor: inout WriteCursor
    ) throws(RemoteWriteError) -> WriteRequest.FamilyMetadata {
        var result = WriteRequest.FamilyMetadata(family: "", metadata: MetricMetadata())
        while let key = try cursor.key() {
            switch key {
            case 1 << 3: result.metadata.type = metricType(try cursor.varint())
            case 2 << 3 | 2:
                let place = try cursor.content()
                result.family = String(decoding: cursor.slice(place), as: UTF8.self)
            case 4 << 3 | 2:
                let place = try cursor.content()
                result.metadata.help = String(decoding: cursor.slice(place), as: UTF8.self)
            case 5 << 3 | 2:
                let place = try cursor.content()
                result.metadata.unit = String(decoding: cursor.slice(place), as: UTF8.self)
            default: try cursor.skip(key, known: 1...2)
            }
        }
        return result
    }
}
