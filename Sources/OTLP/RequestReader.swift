import RemoteWrite

/// Reads `ExportMetricsServiceRequest` and hands its data points on one by one.
///
/// Fields may come in any order, and what is said of a resource or a metric may stand behind its data points: such
/// messages are gone through twice.
struct RequestReader {
    typealias Cursor = ProtobufCursor<OTLPError>

    private let limits: MetricsExport.Limits
    private var attributes: AttributeReader
    private var bucketRoom: Int
    private var exemplarRoom: Int
    private var pointRoom: Int
    private var metricRoom: Int
    private var resourceRoom: Int

    init(_ limits: MetricsExport.Limits) {
        self.limits = limits
        attributes = AttributeReader(
            countMax: limits.attributesMax, depthMax: limits.valueDepthMax)
        bucketRoom = limits.bucketsMax
        exemplarRoom = limits.exemplarsMax
        pointRoom = limits.pointsMax
        metricRoom = limits.metricsMax
        resourceRoom = limits.resourcesMax
    }

    mutating func read(
        _ bytes: UnsafeRawBufferPointer, into translator: inout MetricTranslator
    ) throws(OTLPError) {
        var cursor = Cursor(bytes, 0..<bytes.count, .request)
        while let key = try cursor.key() {
            guard key == 1 << 3 | 2 else {
                try cursor.skip(key, known: 1...1)
                continue
            }
            guard resourceRoom > 0 else { throw .tooMany("resources", max: limits.resourcesMax) }
            resourceRoom -= 1
            let place = try cursor.content()
            try readResourceMetrics(cursor.message(.resourceMetrics, at: place), &translator)
        }
    }

    private mutating func readResourceMetrics(
        _ message: Cursor, _ translator: inout MetricTranslator
    ) throws(OTLPError) {
        var attributes: [Attribute] = []
        var first = message
        while let key = try first.key() {
            guard key == 1 << 3 | 2 else {
                try first.skip(key, known: 1...1)
                continue
            }
            var resource = try first.nested(.resource)
            while let key = try resource.key() {
                guard key == 1 << 3 | 2 else {
                    try resource.skip(key, known: 1...1)
                    continue
                }
                attributes.append(try attribute(&resource))
            }
        }
        translator.begin(resource: attributes)
        var second = message
        while let key = try second.key() {
            guard key == 2 << 3 | 2 else {
                try second.skip(key, known: 2...2)
                continue
            }
            var scope = try second.nested(.scopeMetrics)
            while let key = try scope.key() {
                guard key == 2 << 3 | 2 else {
                    try scope.skip(key, known: 2...2)
                    continue
                }
                let place = try scope.content()
                try readMetric(scope.message(.metric, at: place), &translator)
            }
        }
        try translator.endResource()
    }

    // MARK: Metrics

    private mutating func readMetric(
        _ message: Cursor, _ translator: inout MetricTranslator
    ) throws(OTLPError) {
        guard metricRoom > 0 else { throw .tooMany("metrics", max: limits.metricsMax) }
        metricRoom -= 1
        var header = MetricHeader(name: "", description: "", unit: "", kind: .gauge)
        var data: Cursor?
        var cursor = message
        while let key = try cursor.key() {
            switch key {
            case 1 << 3 | 2: header.name = Self.text(cursor, try cursor.content())
            case 2 << 3 | 2: header.description = Self.repaired(cursor, try cursor.content())
            case 3 << 3 | 2: header.unit = Self.repaired(cursor, try cursor.content())
            // Of several kinds the last counts.
            case 5 << 3 | 2: data = try cursor.nested(.gauge)
            case 7 << 3 | 2: data = try cursor.nested(.sum)
            case 9 << 3 | 2: data = try cursor.nested(.histogram)
            case 10 << 3 | 2: data = try cursor.nested(.exponentialHistogram)
            case 11 << 3 | 2: data = try cursor.nested(.summary)
            case 12 << 3 | 2: _ = try cursor.content()
            default: try cursor.skip(key, known: 1...12)
            }
        }
        guard let data else { return }
        header.kind = try Self.kind(data)
        // Names are made where there is a data point for them.
        var isTaken: Bool?
        var points = data
        while let key = try points.key() {
            guard key == 1 << 3 | 2 else {
                try points.skip(key, known: 1...1)
                continue
            }
            guard pointRoom > 0 else { throw .tooMany("data points", max: limits.pointsMax) }
            pointRoom -= 1
            let place = try points.content()
            let isMetricTaken = isTaken ?? translator.begin(metric: header)
            isTaken = isMetricTaken
            if isMetricTaken {
                try readPoint(points, place, data.message, &translator)
            } else {
                translator.refusePoint()
            }
        }
    }

    /// What the message says of its data points; it is read to its end.
    private static func kind(_ message: Cursor) throws(OTLPError) -> MetricHeader.Kind {
        var cursor = message
        var temporality: UInt64 = 0
        var isMonotonic = false
        let fields: UInt64 =
            switch message.message {
            case .sum: 3
            case .histogram, .exponentialHistogram: 2
            default: 1
            }
        while let key = try cursor.key() {
            switch key {
            case 1 << 3 | 2: _ = try cursor.content()
            case 2 << 3 where fields >= 2: temporality = try cursor.varint()
            case 3 << 3 where fields >= 3: isMonotonic = try cursor.varint() != 0
            default: try cursor.skip(key, known: 1...fields)
            }
        }
        let known = MetricHeader.Temporality(temporality)
        return switch message.message {
        case .sum: .sum(known, isMonotonic: isMonotonic)
        case .histogram: .histogram(known)
        case .exponentialHistogram: .exponentialHistogram(known)
        case .summary: .summary
        default: .gauge
        }
    }

    private mutating func readPoint(
        _ cursor: Cursor, _ place: Range<Int>, _ kind: OTLPMessage,
        _ translator: inout MetricTranslator
    ) throws(OTLPError) {
        switch kind {
        case .histogram:
            try translator.add(try histogram(cursor.message(.histogramPoint, at: place)))
        case .exponentialHistogram:
            try translator.add(try exponential(cursor.message(.exponentialPoint, at: place)))
        case .summary:
            try translator.add(try summary(cursor.message(.summaryPoint, at: place)))
        default: try translator.add(try number(cursor.message(.numberPoint, at: place)))
        }
    }

    // MARK: Data points

    private mutating func number(_ message: Cursor) throws(OTLPError) -> NumberPoint {
        var cursor = message
        var point = NumberPoint()
        while let key = try cursor.key() {
            switch key {
            case 7 << 3 | 2: point.header.attributes.append(try attribute(&cursor))
            case 2 << 3 | 1: point.header.start = try cursor.fixed64()
            case 3 << 3 | 1: point.header.time = try cursor.fixed64()
            case 4 << 3 | 1: point.value = try cursor.double()
            case 6 << 3 | 1:
                point.value = Double(Int64(bitPattern: try cursor.fixed64()))
            case 5 << 3 | 2: point.header.exemplars.append(try exemplar(&cursor))
            case 8 << 3: point.header.take(flags: try cursor.varint())
            default: try cursor.skip(key, known: 2...8)
            }
        }
        return point
    }

    private mutating func histogram(_ message: Cursor) throws(OTLPError) -> HistogramPoint {
        var cursor = message
        var point = HistogramPoint()
        while let key = try cursor.key() {
            switch key {
            case 9 << 3 | 2: point.header.attributes.append(try attribute(&cursor))
            case 2 << 3 | 1: point.header.start = try cursor.fixed64()
            case 3 << 3 | 1: point.header.time = try cursor.fixed64()
            case 4 << 3 | 1: point.count = try cursor.fixed64()
            case 5 << 3 | 1: point.sum = try cursor.double()
            case 6 << 3 | 1: point.counts.append(try bucket(try cursor.fixed64()))
            case 6 << 3 | 2:
                var packed = try cursor.nested(.histogramPoint)
                while packed.at < packed.end {
                    point.counts.append(try bucket(try packed.fixed64()))
                }
            case 7 << 3 | 1: point.bounds.append(try bucket(try cursor.double()))
            case 7 << 3 | 2:
                var packed = try cursor.nested(.histogramPoint)
                while packed.at < packed.end {
                    point.bounds.append(try bucket(try packed.double()))
                }
            case 8 << 3 | 2: point.header.exemplars.append(try exemplar(&cursor))
            case 10 << 3: point.header.take(flags: try cursor.varint())
            // Least and greatest value, for which Prometheus has no series.
            case 11 << 3 | 1, 12 << 3 | 1: _ = try cursor.fixed64()
            default: try cursor.skip(key, known: 2...12)
            }
        }
        return point
    }

    private mutating func exponential(_ message: Cursor) throws(OTLPError) -> ExponentialPoint {
        var cursor = message
        var point = ExponentialPoint()
        while let key = try cursor.key() {
            switch key {
            case 1 << 3 | 2: point.header.attributes.append(try attribute(&cursor))
            case 2 << 3 | 1: point.header.start = try cursor.fixed64()
            case 3 << 3 | 1: point.header.time = try cursor.fixed64()
            case 4 << 3 | 1: point.count = try cursor.fixed64()
            case 5 << 3 | 1: point.sum = try cursor.double()
            case 6 << 3: point.scale = Int32(truncatingIfNeeded: try cursor.zigzag())
            case 7 << 3 | 1: point.zeroCount = try cursor.fixed64()
            case 8 << 3 | 2: point.positive = try buckets(&cursor)
            case 9 << 3 | 2: point.negative = try buckets(&cursor)
            case 10 << 3: point.header.take(flags: try cursor.varint())
            case 11 << 3 | 2: point.header.exemplars.append(try exemplar(&cursor))
            case 12 << 3 | 1, 13 << 3 | 1: _ = try cursor.fixed64()
            case 14 << 3 | 1: point.zeroThreshold = try cursor.double()
            default: try cursor.skip(key, known: 1...14)
            }
        }
        return point
    }

    private mutating func buckets(
        _ parent: inout Cursor
    ) throws(OTLPError) -> ExponentialPoint.Buckets {
        var cursor = try parent.nested(.buckets)
        var buckets = ExponentialPoint.Buckets()
        while let key = try cursor.key() {
            switch key {
            case 1 << 3: buckets.offset = Int32(truncatingIfNeeded: try cursor.zigzag())
            case 2 << 3: buckets.counts.append(try bucket(try cursor.varint()))
            case 2 << 3 | 2:
                var packed = try cursor.nested(.buckets)
                while packed.at < packed.end {
                    buckets.counts.append(try bucket(try packed.varint()))
                }
            default: try cursor.skip(key, known: 1...2)
            }
        }
        return buckets
    }

    private mutating func summary(_ message: Cursor) throws(OTLPError) -> SummaryPoint {
        var cursor = message
        var point = SummaryPoint()
        while let key = try cursor.key() {
            switch key {
            case 7 << 3 | 2: point.header.attributes.append(try attribute(&cursor))
            case 2 << 3 | 1: point.header.start = try cursor.fixed64()
            case 3 << 3 | 1: point.header.time = try cursor.fixed64()
            case 4 << 3 | 1: point.count = try cursor.fixed64()
            case 5 << 3 | 1: point.sum = try cursor.double()
            case 6 << 3 | 2:
                var inner = try cursor.nested(.quantile)
                var quantile = 0.0
                var value = 0.0
                while let key = try inner.key() {
                    switch key {
                    case 1 << 3 | 1: quantile = try inner.double()
                    case 2 << 3 | 1: value = try inner.double()
                    default: try inner.skip(key, known: 1...2)
                    }
                }
                point.quantiles.append((quantile, try bucket(value)))
            case 8 << 3: point.header.take(flags: try cursor.varint())
            default: try cursor.skip(key, known: 2...8)
            }
        }
        return point
    }

    /// A bucket, bound or quantile more; the value as it is.
    private mutating func bucket<T>(_ value: T) throws(OTLPError) -> T {
        guard bucketRoom > 0 else { throw .tooMany("buckets", max: limits.bucketsMax) }
        bucketRoom -= 1
        return value
    }

    private mutating func exemplar(_ parent: inout Cursor) throws(OTLPError) -> ExemplarPoint {
        guard exemplarRoom > 0 else { throw .tooMany("exemplars", max: limits.exemplarsMax) }
        exemplarRoom -= 1
        var cursor = try parent.nested(.exemplar)
        var exemplar = ExemplarPoint()
        while let key = try cursor.key() {
            switch key {
            case 7 << 3 | 2: exemplar.attributes.append(try attribute(&cursor))
            case 2 << 3 | 1: exemplar.time = try cursor.fixed64()
            case 3 << 3 | 1: exemplar.value = try cursor.double()
            case 6 << 3 | 1: exemplar.value = Double(Int64(bitPattern: try cursor.fixed64()))
            case 4 << 3 | 2: exemplar.spanID = Array(cursor.slice(try cursor.content()))
            case 5 << 3 | 2: exemplar.traceID = Array(cursor.slice(try cursor.content()))
            default: try cursor.skip(key, known: 2...7)
            }
        }
        return exemplar
    }

    private mutating func attribute(_ parent: inout Cursor) throws(OTLPError) -> Attribute {
        try attributes.attribute(&parent)
    }

    /// Nil where it is no UTF-8.
    private static func text(_ cursor: Cursor, _ place: Range<Int>) -> String? {
        String(validating: cursor.slice(place), as: UTF8.self)
    }

    /// What is no UTF-8 becomes U+FFFD.
    private static func repaired(_ cursor: Cursor, _ place: Range<Int>) -> String {
        String(decoding: cursor.slice(place), as: UTF8.self)
    }
}
