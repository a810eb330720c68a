/// What a field of a message holds, as far as JSON and the wire format differ.
enum FieldKind {
    case text
    /// Hexadecimal digits in JSON. Source: OTLP 1.9 "JSON Protobuf Encoding".
    case hexadecimal
    case base64
    case boolean
    case double
    case fixed32
    /// `fixed64`, `sfixed64`.
    case fixed64(isSigned: Bool)
    /// `uint32`, `uint64`, `int32`, `int64` and enums.
    case varint(isSigned: Bool)
    /// `sint32`.
    case zigzag
    case message(OTLPMessage)
}

/// A field by its name in JSON.
struct MessageField {
    var number: UInt64
    var kind: FieldKind
    var isRepeated = false

    init(_ number: UInt64, _ kind: FieldKind, isRepeated: Bool = false) {
        self.number = number
        self.kind = kind
        self.isRepeated = isRepeated
    }

    static func list(_ number: UInt64, _ kind: FieldKind) -> MessageField {
        MessageField(number, kind, isRepeated: true)
    }
}

// Only the fields that mean something here: others are as unknown.
// Source: opentelemetry-proto 1.9.
extension OTLPMessage {
    /// A field by its name in JSON, or in the definition: `resourceLogs`, `resource_logs`. Source: Protocol Buffers, "ProtoJSON
    /// Format": a parser takes both.
    func field(_ name: String) -> MessageField? {
        let fields = Self.fields[self]
        if let field = fields?[name] { return field }
        guard name.utf8.contains(UInt8(ascii: "_")) else { return nil }
        var words = name.split(separator: "_", omittingEmptySubsequences: false)[...]
        let first = words.removeFirst()
        return fields?[
            words.reduce(String(first)) { $0 + $1.prefix(1).uppercased() + $1.dropFirst() }]
    }

    private static let fields: [OTLPMessage: [String: MessageField]] = [
        .request: ["resourceMetrics": .list(1, .message(.resourceMetrics))],
        .resourceMetrics: [
            "resource": MessageField(1, .message(.resource)),
            "scopeMetrics": .list(2, .message(.scopeMetrics)),
        ],
        .logsRequest: ["resourceLogs": .list(1, .message(.resourceLogs))],
        .resourceLogs: [
            "resource": MessageField(1, .message(.resource)),
            "scopeLogs": .list(2, .message(.scopeLogs)),
        ],
        .scopeLogs: [
            "scope": MessageField(1, .message(.scope)),
            "logRecords": .list(2, .message(.logRecord)),
        ],
        .scope: [
            "name": MessageField(1, .text), "version": MessageField(2, .text),
            "attributes": .list(3, .message(.keyValue)),
            "droppedAttributesCount": MessageField(4, .varint(isSigned: false)),
        ],
        .logRecord: [
            "timeUnixNano": MessageField(1, .fixed64(isSigned: false)),
            "severityNumber": MessageField(2, .varint(isSigned: true)),
            "severityText": MessageField(3, .text), "body": MessageField(5, .message(.anyValue)),
            "attributes": .list(6, .message(.keyValue)),
            "droppedAttributesCount": MessageField(7, .varint(isSigned: false)),
            "flags": MessageField(8, .fixed32), "traceId": MessageField(9, .hexadecimal),
            "spanId": MessageField(10, .hexadecimal),
            "observedTimeUnixNano": MessageField(11, .fixed64(isSigned: false)),
            "eventName": MessageField(12, .text),
        ],
        .resource: ["attributes": .list(1, .message(.keyValue))],
        .scopeMetrics: ["metrics": .list(2, .message(.metric))],
        .metric: [
            "name": MessageField(1, .text), "description": MessageField(2, .text),
            "unit": MessageField(3, .text), "gauge": MessageField(5, .message(.gauge)),
            "sum": MessageField(7, .message(.sum)),
            "histogram": MessageField(9, .message(.histogram)),
            "exponentialHistogram": MessageField(10, .message(.exponentialHistogram)),
            "summary": MessageField(11, .message(.summary)),
        ],
        .gauge: ["dataPoints": .list(1, .message(.numberPoint))],
        .sum: [
            "dataPoints": .list(1, .message(.numberPoint)),
            "aggregationTemporality": MessageField(2, .varint(isSigned: false)),
            "isMonotonic": MessageField(3, .boolean),
        ],
        .histogram: [
            "dataPoints": .list(1, .message(.histogramPoint)),
            "aggregationTemporality": MessageField(2, .varint(isSigned: false)),
        ],
        .exponentialHistogram: [
            "dataPoints": .list(1, .message(.exponentialPoint)),
            "aggregationTemporality": MessageField(2, .varint(isSigned: false)),
        ],
        .summary: ["dataPoints": .list(1, .message(.summaryPoint))],
        .numberPoint: times.merging([
            "attributes": .list(7, .message(.keyValue)), "asDouble": MessageField(4, .double),
            "asInt": MessageField(6, .fixed64(isSigned: true)),
            "exemplars": .list(5, .message(.exemplar)),
            "flags": MessageField(8, .varint(isSigned: false)),
        ]) { $1 },
        .histogramPoint: times.merging([
            "attributes": .list(9, .message(.keyValue)),
            "count": MessageField(4, .fixed64(isSigned: false)), "sum": MessageField(5, .double),
            "bucketCounts": .list(6, .fixed64(isSigned: false)),
            "explicitBounds": .list(7, .double), "exemplars": .list(8, .message(.exemplar)),
            "flags": MessageField(10, .varint(isSigned: false)),
        ]) { $1 },
        .exponentialPoint: times.merging([
            "attributes": .list(1, .message(.keyValue)),
            "count": MessageField(4, .fixed64(isSigned: false)), "sum": MessageField(5, .double),
            "scale": MessageField(6, .zigzag),
            "zeroCount": MessageField(7, .fixed64(isSigned: false)),
            "positive": MessageField(8, .message(.buckets)),
            "negative": MessageField(9, .message(.buckets)),
            "flags": MessageField(10, .varint(isSigned: false)),
            "exemplars": .list(11, .message(.exemplar)),
            "zeroThreshold": MessageField(14, .double),
        ]) { $1 },
        .buckets: [
            "offset": MessageField(1, .zigzag),
            "bucketCounts": .list(2, .varint(isSigned: false)),
        ],
        .summaryPoint: times.merging([
            "attributes": .list(7, .message(.keyValue)),
            "count": MessageField(4, .fixed64(isSigned: false)), "sum": MessageField(5, .double),
            "quantileValues": .list(6, .message(.quantile)),
            "flags": MessageField(8, .varint(isSigned: false)),
        ]) { $1 },
        .quantile: ["quantile": MessageField(1, .double), "value": MessageField(2, .double)],
        .exemplar: [
            "filteredAttributes": .list(7, .message(.keyValue)),
            "timeUnixNano": MessageField(2, .fixed64(isSigned: false)),
            "asDouble": MessageField(3, .double),
            "asInt": MessageField(6, .fixed64(isSigned: true)),
            "spanId": MessageField(4, .hexadecimal), "traceId": MessageField(5, .hexadecimal),
        ],
        .keyValue: [
            "key": MessageField(1, .text), "value": MessageField(2, .message(.anyValue)),
        ],
        .anyValue: [
            "stringValue": MessageField(1, .text), "boolValue": MessageField(2, .boolean),
            "intValue": MessageField(3, .varint(isSigned: true)),
            "doubleValue": MessageField(4, .double),
            "arrayValue": MessageField(5, .message(.array)),
            "kvlistValue": MessageField(6, .message(.keyValueList)),
            "bytesValue": MessageField(7, .base64),
        ],
        .array: ["values": .list(1, .message(.anyValue))],
        .keyValueList: ["values": .list(1, .message(.keyValue))],
    ]

    private static let times = [
        "startTimeUnixNano": MessageField(2, .fixed64(isSigned: false)),
        "timeUnixNano": MessageField(3, .fixed64(isSigned: false)),
    ]
}

extension OTLPMessage {
    private static let severities = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"]

    /// The number of an enumeration's value that is given by its name: `SEVERITY_NUMBER_WARN`, `SEVERITY_NUMBER_WARN2`.
    func enumeration(_ field: String, _ text: String) -> UInt64? {
        guard self == .logRecord, self.field(field)?.number == 2 else { return nil }
        let prefix = "SEVERITY_NUMBER_"
        guard text.hasPrefix(prefix) else { return nil }
        var name = text.dropFirst(prefix.count)
        guard name != "UNSPECIFIED" else { return 0 }
        var step = 0
        if let last = name.last?.wholeNumberValue, (2...4).contains(last) {
            step = last - 1
            name.removeLast()
        }
        return Self.severities.firstIndex(of: String(name)).map { UInt64($0 * 4 + step + 1) }
    }
}
