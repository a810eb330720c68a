package import JSONReading
package import RemoteWrite

/// Why a body is no request that we take. Nothing of it is stored.
package enum OTLPError: Error, Hashable, Sendable, CustomStringConvertible {
    /// A message ends within a field.
    case truncated(OTLPMessage, at: Int)
    /// A number of more than 64 bits.
    case oversizedNumber(OTLPMessage, at: Int)
    /// A field that we know has another wire type, or its number or wire type does not exist.
    case badField(OTLPMessage, field: UInt64, wireType: UInt8, at: Int)
    /// The body is no JSON.
    case json(JSONError)
    /// A member of a JSON object has a value that its field can't have.
    case badValue(OTLPMessage, field: String, at: Int)
    /// Attribute values inside each other.
    case tooDeep(max: Int)
    /// JSON that would be longer than a body may be once it is read.
    case tooLong(max: Int)
    /// A bound of `MetricsExport.Limits` or `LogsExport.Limits`.
    case tooMany(String, max: Int)
    /// More than one request may make, in the columns of a write request.
    case columns(RemoteWriteError)

    /// Whether it is its size alone that speaks against the request.
    package var isAboutSize: Bool {
        switch self {
        case .tooLong, .tooMany: true
        case .columns(let error): error.isAboutSize
        case .truncated, .oversizedNumber, .badField, .json, .badValue, .tooDeep: false
        }
    }

    package var description: String {
        switch self {
        case .truncated(let message, let at):
            "\(message.rawValue) ends within a field at byte \(at)"
        case .oversizedNumber(let message, let at):
            "\(message.rawValue) has a number of more than 64 bits before byte \(at)"
        case .badField(let message, let field, let wireType, let at):
            "\(message.rawValue) has field \(field) with wire type \(wireType) before byte \(at): "
                + "is it the message that Content-Type says?"
        case .json(let error): "the body is not the JSON of a request: \(error)"
        case .badValue(let message, let field, let at):
            "\(message.rawValue) has a value of \(field) before byte \(at) that the field can't "
                + "have"
        case .tooDeep(let max): "an attribute's value has more than \(max) levels"
        case .tooLong(let max): "the request has more than \(max) bytes: send less in one"
        case .tooMany(let what, let max):
            "more than \(max) \(what) in one request: send less in one"
        case .columns(let error): error.description
        }
    }
}

extension OTLPError: ProtobufFailure {}

/// The messages of exports of metrics and logs, for errors.
/// Source: opentelemetry-proto 1.9 `metrics_service.proto`, `metrics.proto`, `logs_service.proto`, `logs.proto`,
/// `common.proto`, `resource.proto`.
package enum OTLPMessage: String, Hashable, Sendable {
    case request = "ExportMetricsServiceRequest"
    case logsRequest = "ExportLogsServiceRequest"
    case resourceLogs = "ResourceLogs"
    case scopeLogs = "ScopeLogs"
    case scope = "InstrumentationScope"
    case logRecord = "LogRecord"
    case resourceMetrics = "ResourceMetrics"
    case resource = "Resource"
    case scopeMetrics = "ScopeMetrics"
    case metric = "Metric"
    case gauge = "Gauge"
    case sum = "Sum"
    case histogram = "Histogram"
    case exponentialHistogram = "ExponentialHistogram"
    case summary = "Summary"
    case numberPoint = "NumberDataPoint"
    case histogramPoint = "HistogramDataPoint"
    case exponentialPoint = "ExponentialHistogramDataPoint"
    case buckets = "Buckets"
    case summaryPoint = "SummaryDataPoint"
    case quantile = "ValueAtQuantile"
    case exemplar = "Exemplar"
    case keyValue = "KeyValue"
    case anyValue = "AnyValue"
    case array = "ArrayValue"
    case keyValueList = "KeyValueList"
}
