import Model

/// What of a log file becomes stream labels, and how patient its reader is.
package struct FileTailConfiguration: Sendable {
    /// Where reading a file begins that exists when it is first seen; a file that appears later is read from its start.
    package enum Start: Hashable, Sendable {
        case head
        case tail
    }

    package var path: String
    /// Empty: the label is left out.
    package var serviceName: String
    package var start: Start
    /// After how many nanoseconds without growth a line without end counts as ended.
    package var partialLineNanoseconds: Int64
    /// How long a renamed file must not grow until it is left for the new one. Nanoseconds.
    package var rotationGraceNanoseconds: Int64
    /// Nil: every line is a record.
    package var multiline: MultilineConfiguration?
    /// What a line is. Lines of Docker's logs are never records of several.
    package var decoding: LineDecoding
    /// Whether a path is followed for itself: then its file is none that rotation left of this one.
    package var isFollowed: @Sendable (String) -> Bool = { _ in false }

    package init(
        path: String, serviceName: String = "", start: Start = .head,
        partialLineNanoseconds: Int64 = 5_000_000_000,
        rotationGraceNanoseconds: Int64 = 2_000_000_000,
        multiline: MultilineConfiguration? = nil, decoding: LineDecoding = .plain
    ) {
        self.path = path
        self.serviceName = serviceName
        self.start = start
        self.partialLineNanoseconds = partialLineNanoseconds
        self.rotationGraceNanoseconds = rotationGraceNanoseconds
        self.multiline = multiline
        self.decoding = decoding
    }

    /// The stream labels of the lines.
    var labels: Labels {
        Labels(["source": "file", "filename": path, "service_name": serviceName])
    }
}
