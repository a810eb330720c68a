/// Why a body is no write request, or push of Loki, that we take. Nothing of it is stored.
package enum RemoteWriteError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The bytes are not one block of Snappy.
    case notSnappy
    /// Decompressed it would be longer than it may be.
    case tooLong(bytes: Int, max: Int)
    /// A message ends within a field.
    case truncated(WireMessage, at: Int)
    /// A number of more than 64 bits.
    case oversizedNumber(WireMessage, at: Int)
    /// A field that we know has another wire type, or its number or wire type does not exist.
    case badField(WireMessage, field: UInt64, wireType: UInt8, at: Int)
    /// A reference past the end of the symbols.
    case badReference(WireMessage, reference: UInt64, symbolCount: Int, at: Int)
    /// Label references that are not pairs of name and value.
    case oddReferences(count: Int, at: Int)
    /// A bound of `WriteRequest.Limits`.
    case tooMany(String, max: Int)

    /// Whether it is its size alone that speaks against the request.
    package var isAboutSize: Bool {
        switch self {
        case .tooLong, .tooMany: true
        case .notSnappy, .truncated, .oversizedNumber, .badField, .badReference, .oddReferences:
            false
        }
    }

    package var description: String {
        switch self {
        case .notSnappy: "the body is not compressed with Snappy's block format"
        case .tooLong(let bytes, let max):
            "the decompressed body would have \(bytes) bytes, at most \(max) are taken: send less "
                + "in one request"
        case .truncated(let message, let at):
            "\(message.rawValue) ends within a field at byte \(at)"
        case .oversizedNumber(let message, let at):
            "\(message.rawValue) has a number of more than 64 bits before byte \(at)"
        case .badField(let message, let field, let wireType, let at):
            "\(message.rawValue) has field \(field) with wire type \(wireType) before byte \(at): "
                + "is it the message that Content-Type says?"
        case .badReference(let message, let reference, let symbolCount, let at):
            "\(message.rawValue) refers to symbol \(reference) of \(symbolCount) before byte \(at)"
        case .oddReferences(let count, let at):
            "TimeSeries has \(count) label references before byte \(at), which are no pairs"
        case .tooMany(let what, let max):
            "more than \(max) \(what) in one request: send less in one"
        }
    }
}

extension RemoteWriteError: ProtobufFailure {}

/// A cursor over the messages of both versions.
typealias WriteCursor = ProtobufCursor<RemoteWriteError>

/// The messages of both versions and of Loki's push, for errors.
package enum WireMessage: String, Hashable, Sendable {
    case request = "the request"
    case timeSeries = "TimeSeries"
    case label = "Label"
    case sample = "Sample"
    case exemplar = "Exemplar"
    case histogram = "Histogram"
    case bucketSpan = "BucketSpan"
    case metadata = "Metadata"
    case pushRequest = "PushRequest"
    case stream = "StreamAdapter"
    case entry = "EntryAdapter"
    case timestamp = "Timestamp"
}
