import JSONReading
import RemoteWrite

/// What a sender of OTLP is answered with, of metrics or of logs. Source: OTLP 1.9 "OTLP/HTTP Response".
package enum ExportResponse: Hashable, Sendable {
    /// `ExportMetricsServiceResponse` or `ExportLogsServiceResponse`: everything was stored.
    case full
    /// `ExportMetricsServiceResponse` with `partial_success`: so many data points were not, or none and a warning.
    case partial(rejectedDataPoints: Int, message: String)
    /// `ExportLogsServiceResponse` with `partial_success`: so many log records were not stored.
    case partialLogs(rejectedLogRecords: Int, message: String)
    /// `google.rpc.Status`.
    case status(Code, message: String)

    /// Source: `google/rpc/code.proto`.
    package enum Code: Int, Hashable, Sendable {
        case invalidArgument = 3
        case notFound = 5
        case permissionDenied = 7
        case resourceExhausted = 8
        case unimplemented = 12
        case `internal` = 13
        case unavailable = 14

        /// The code that means what an HTTP status does.
        package init(httpStatus: Int) {
            self =
                switch httpStatus {
                case 404: .notFound
                case 403, 421: .permissionDenied
                case 405, 415: .unimplemented
                case 413, 429: .resourceExhausted
                case 500: .internal
                case 501...599: .unavailable
                default: .invalidArgument
                }
        }
    }

    /// The body in the request's own encoding.
    package func body(_ encoding: MetricsExport.Encoding) -> [UInt8] {
        encoding == .protobuf ? protobuf : Array(json.utf8)
    }

    private var protobuf: [UInt8] {
        var bytes: [UInt8] = []
        switch self {
        case .full: break
        case .partial(let count, let message), .partialLogs(let count, let message):
            var partial: [UInt8] = []
            ProtobufText.append(1, integer: Int64(count), to: &partial)
            ProtobufText.append(2, content: message.utf8, to: &partial)
            ProtobufText.append(1, content: partial, to: &bytes)
        case .status(let code, let message):
            ProtobufText.append(1, integer: Int64(code.rawValue), to: &bytes)
            ProtobufText.append(2, content: message.utf8, to: &bytes)
        }
        return bytes
    }

    private var json: String {
        switch self {
        case .full: "{}"
        case .partial(let count, let message):
            Self.partial("rejectedDataPoints", count, message)
        case .partialLogs(let count, let message):
            Self.partial("rejectedLogRecords", count, message)
        case .status(let code, let message):
            "{\"code\":\(code.rawValue),\"message\":" + Self.quoted(message) + "}"
        }
    }

    private static func partial(_ name: String, _ count: Int, _ message: String) -> String {
        "{\"partialSuccess\":{\"\(name)\":\"\(count)\",\"errorMessage\":" + quoted(message) + "}}"
    }

    private static func quoted(_ text: String) -> String {
        var bytes: [UInt8] = []
        JSONText.append(text, to: &bytes)
        return String(decoding: bytes, as: UTF8.self)
    }
}
