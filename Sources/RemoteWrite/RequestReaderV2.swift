import Model

/// Reads `io.prometheus.write.v2.Request`.
struct RequestReaderV2 {
    private let bytes: UnsafeRawBufferPointer
    private let limits: WriteRequest.Limits
    private var bucketRoom: Int
    private var exemplarRoom: Int
    /// The places of the symbols in the body.
    private var symbols: [Range<Int>] = []
    /// References of the label set that is being read.
    private var references: [Int] = []

    /// `bytes` must outlive this.
    init(_ bytes: UnsafeRawBufferPointer, _ limits: WriteRequest.Limits) {
        self.bytes = bytes
        self.limits = limits
        bucketRoom = limits.bucketsMax
        exemplarRoom = limits.exemplarsMax
    }

    mutating func read(into request: inout WriteRequest) throws(RemoteWriteError) {
        // Symbols may stand behind the series that refer to them.
        var first = WriteCursor(bytes, 0..<bytes.count, .request)
        while let key = try first.key() {
            switch key {
            case 4 << 3 | 2:
                guard symbols.count < limits.symbolsMax else {
                    throw .tooMany("symbols", max: limits.symbolsMax)
                }
                symbols.append(try first.content())
            case 5 << 3 | 2: _ = try first.content()
            default: try first.skip(key, known: 1...5)
            }
        }
        var cursor = WriteCursor(bytes, 0..<bytes.count, .request)
        while let key = try cursor.key() {
            guard key == 5 << 3 | 2 else {
                // Looked at before; a symbol is stepped over here as any other text.
                try cursor.skip(key, known: 1...3)
                continue
            }
            var series = try cursor.nested(.timeSeries)
            try readSeries(&series, into: &request)
        }
    }

    private mutating func readSeries(
        _ cursor: inout WriteCursor, into request: inout WriteRequest
    ) throws(RemoteWriteError) {
        var series = WriteRequest.Series(labels: 0..<0)
        let firstSample = request.timestamps.count
        let firstHistogram = request.histograms.count
        var created: Int64 = 0
        references.removeAll(keepingCapacity: true)
        var exemplarReferences: [Int] = []
        while let key = try cursor.key() {
            switch key {
            case 1 << 3: references.append(try reference(&cursor))
            case 1 << 3 | 2:
                var packed = try cursor.nested(.timeSeries)
                while packed.at < packed.end { references.append(try reference(&packed)) }
            case 2 << 3 | 2:
                var sample = try cursor.nested(.sample)
                try Self.readSample(&sample, into: &request, limits)
                series.sampleCount += 1
            case 3 << 3 | 2:
                var message = try cursor.nested(.histogram)
                try request.append(
                    try HistogramMessage(&message, room: &bucketRoom, limits), to: &series, limits)
            case 4 << 3 | 2:
                guard exemplarRoom > 0 else {
                    throw .tooMany("exemplars", max: limits.exemplarsMax)
                }
                exemplarRoom -= 1
                var exemplar = try cursor.nested(.exemplar)
                try readExemplar(&exemplar, &exemplarReferences, into: &request)
                series.exemplarCount += 1
            case 5 << 3 | 2:
                var metadata = try cursor.nested(.metadata)
                series.metadata = try readMetadata(&metadata)
            case 6 << 3: created = try cursor.integer()
            default: try cursor.skip(key, known: 1...6)
            }
        }
        series.labels = try spell(references, at: cursor.end, &request.labelBytes)
        if created != 0 {
            request.setStart(created, samplesFrom: firstSample, histogramsFrom: firstHistogram)
        }
        try request.append(series, limits)
    }

    private func reference(_ cursor: inout WriteCursor) throws(RemoteWriteError) -> Int {
        let reference = try cursor.varint()
        guard reference < UInt64(symbols.count) else {
            throw .badReference(
                cursor.message, reference: reference, symbolCount: symbols.count, at: cursor.at)
        }
        return Int(reference)
    }

    /// A reference to a text that may be absent: nobody need have symbols to say 0.
    private func text(_ cursor: inout WriteCursor) throws(RemoteWriteError) -> Range<Int> {
        let reference = try cursor.varint()
        if reference == 0 { return symbols.first ?? 0..<0 }
        guard reference < UInt64(symbols.count) else {
            throw .badReference(
                cursor.message, reference: reference, symbolCount: symbols.count, at: cursor.at)
        }
        return symbols[Int(reference)]
    }

    @inline(__always)
    private static func readSample(
        _ cursor: inout WriteCursor, into request: inout WriteRequest,
        _ limits: WriteRequest.Limits
    ) throws(RemoteWriteError) {
        var timestamp: Int64 = 0
        var start: Int64 = 0
        var value = 0.0
        while let key = try cursor.key() {
            switch key {
            case 1 << 3 | 1: value = try cursor.double()
            case 2 << 3: timestamp = try cursor.integer()
            case 3 << 3: start = try cursor.integer()
            default: try cursor.skip(key, known: 1...3)
            }
        }
        try request.append(timestamp, value, start: start, limits)
    }

    private mutating func readExemplar(
        _ cursor: inout WriteCursor, _ references: inout [Int], into request: inout WriteRequest
    ) throws(RemoteWriteError) {
        var exemplar = WriteRequest.Exemplar(labels: 0..<0, value: 0, timestamp: 0)
        references.removeAll(keepingCapacity: true)
        while let key = try cursor.key() {
            switch key {
            case 1 << 3: references.append(try reference(&cursor))
            case 1 << 3 | 2:
                var packed = try cursor.nested(.exemplar)
                while packed.at < packed.end { references.append(try reference(&packed)) }
            case 2 << 3 | 1: exemplar.value = try cursor.double()
            case 3 << 3: exemplar.timestamp = try cursor.integer()
            default: try cursor.skip(key, known: 1...3)
            }
        }
        exemplar.labels = try spell(references, at: cursor.end, &request.labelBytes)
        request.exemplars.append(exemplar)
    }

    private func readMetadata(
        _ cursor: inout WriteCursor
    ) throws(RemoteWriteError) -> WriteRequest.RawMetadata? {
        var result = WriteRequest.RawMetadata(
            type: .unknown, help: symbols.first ?? 0..<0, unit: symbols.first ?? 0..<0)
        while let key = try cursor.key() {
            switch key {
            case 1 << 3: result.type = metricType(try cursor.varint())
            case 3 << 3: result.help = try text(&cursor)
            case 4 << 3: result.unit = try text(&cursor)
            default: try cursor.skip(key, known: 3...4)
            }
        }
        let saysNothing = result.type == .unknown && result.help.isEmpty && result.unit.isEmpty
        return saysNothing ? nil : result
    }

    /// Spells a label set out as version 1 would write it; the place where it stands in `spelled`.
    private func spell(
        _ references: [Int], at: Int, _ spelled: inout [UInt8]
    ) throws(RemoteWriteError) -> Range<Int> {
        guard references.count.isMultiple(of: 2) else {
            throw .oddReferences(count: references.count, at: at)
        }
        let start = spelled.count
        for pair in stride(from: 0, to: references.count, by: 2) {
            let name = symbols[references[pair]]
            let value = symbols[references[pair + 1]]
            guard spelled.count + name.count + value.count <= limits.labelBytesMax else {
                throw .tooMany("bytes of label sets", max: limits.labelBytesMax)
            }
            RawLabels.append(
                UnsafeRawBufferPointer(rebasing: bytes[name]),
                UnsafeRawBufferPointer(rebasing: bytes[value]), to: &spelled)
        }
        return start..<spelled.count
    }
}

/// Of both versions' `MetricType`. An info or a state set is exposed as gauges; a gauge histogram is no counter, which
/// `histogram` would say. Source: OpenMetrics 1.0.
func metricType(_ number: UInt64) -> MetricType {
    switch number {
    case 1: .counter
    case 2, 6, 7: .gauge
    case 3: .histogram
    case 5: .summary
    default: .unknown
    }
}
