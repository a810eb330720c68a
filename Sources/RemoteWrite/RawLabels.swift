package import Model

/// Why bytes are no label set of a series. The rest of their request may be stored.
package enum LabelDefect: Error, Hashable, Sendable, CustomStringConvertible {
    case malformed(RemoteWriteError)
    case notUTF8
    case emptyName
    case duplicateName(String)
    case noMetricName
    case metricNameTooLong(bytes: Int)
    case tooManyLabels(Int)
    case tooLong(bytes: Int)

    package var description: String {
        switch self {
        case .malformed(let error): "a label set that does not decode: \(error)"
        case .notUTF8: "a label that is no UTF-8"
        case .emptyName: "a label without a name"
        case .duplicateName(let name): "a label set that has \(name) twice"
        case .noMetricName: "a series without \(Labels.metricNameLabel)"
        case .metricNameTooLong(let bytes):
            "a metric name of \(bytes) bytes, at most \(RawLabels.metricNameBytesMax) are taken"
        case .tooManyLabels(let count):
            "a series of \(count) labels, at most \(RawLabels.countMax) are taken"
        case .tooLong(let bytes):
            "a label set of \(bytes) bytes, at most \(RawLabels.bytesMax) are taken"
        }
    }
}

/// A label set as version 1 of the protocol writes it: `Label` messages, each with its key (field 1) and length. Version 2
/// is spelled so, so that one cache by these bytes serves both. Equal bytes are equal sets; a set may have several
/// spellings.
package enum RawLabels {
    package static let countMax = 256
    package static let bytesMax = 64 << 10
    /// What an index of the database holds with room to spare.
    package static let metricNameBytesMax = 1_024

    /// The bytes of a set, in one piece or two: both together are the set.
    package struct Spelling {
        package let own: UnsafeRawBufferPointer
        package let shared: UnsafeRawBufferPointer

        package init(
            _ own: UnsafeRawBufferPointer,
            shared: UnsafeRawBufferPointer = UnsafeRawBufferPointer(start: nil, count: 0)
        ) {
            self.own = own
            self.shared = shared
        }

        package var count: Int { own.count + shared.count }
    }

    /// The set in order; labels without a value are left out. Throws where it is none of a series.
    package static func seriesLabels(_ spelling: Spelling) throws(LabelDefect) -> Labels {
        let labels = try labels(spelling)
        let name = labels.metricName
        guard !name.isEmpty else { throw .noMetricName }
        guard name.utf8.count <= metricNameBytesMax else {
            throw .metricNameTooLong(bytes: name.utf8.count)
        }
        return labels
    }

    /// The set of a series or of an exemplar.
    package static func labels(_ spelling: Spelling) throws(LabelDefect) -> Labels {
        guard spelling.count <= bytesMax else { throw .tooLong(bytes: spelling.count) }
        var labels: [Label] = []
        do throws(RemoteWriteError) {
            try read(spelling.shared, into: &labels)
            try read(spelling.own, into: &labels)
        } catch { throw .malformed(error) }
        guard labels.count <= countMax else { throw .tooManyLabels(labels.count) }
        guard !labels.contains(where: { $0 == invalid }) else { throw .notUTF8 }
        guard !labels.contains(where: \.name.isEmpty) else { throw .emptyName }
        labels.sort { bytesPrecede($0.name, $1.name) }
        for (label, next) in zip(labels, labels.dropFirst())
        where label.name.utf8.elementsEqual(next.name.utf8) {
            throw .duplicateName(label.name)
        }
        return Labels(sortedUnchecked: labels.filter { !$0.value.isEmpty })
    }

    /// Stands for what is no UTF-8; no sender can spell it, for it has no name and a value.
    private static let invalid = Label("", "\u{FFFD}")

    private static func read(
        _ bytes: UnsafeRawBufferPointer, into labels: inout [Label]
    ) throws(RemoteWriteError) {
        var cursor = WriteCursor(bytes, 0..<bytes.count, .timeSeries)
        while let key = try cursor.key() {
            guard key == 1 << 3 | 2 else {
                try cursor.skip(key, known: 1...1)
                continue
            }
            var label = try cursor.nested(.label)
            labels.append(try read(&label))
        }
    }

    private static func read(
        _ cursor: inout WriteCursor
    ) throws(RemoteWriteError) -> Label {
        var name: Range<Int>?
        var value: Range<Int>?
        while let key = try cursor.key() {
            switch key {
            case 1 << 3 | 2: name = try cursor.content()
            case 2 << 3 | 2: value = try cursor.content()
            default: try cursor.skip(key, known: 1...2)
            }
        }
        func text(_ range: Range<Int>?) -> String? {
            guard let range else { return "" }
            return String(validating: cursor.slice(range), as: UTF8.self)
        }
        guard let name = text(name), let value = text(value) else { return invalid }
        return Label(name, value)
    }

    /// Appends a label as version 1 writes it.
    package static func append(
        _ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer, to bytes: inout [UInt8]
    ) {
        func fieldCount(_ text: UnsafeRawBufferPointer) -> Int {
            1 + ProtobufText.varintCount(UInt64(text.count)) + text.count
        }
        bytes.append(1 << 3 | 2)
        ProtobufText.append(varint: UInt64(fieldCount(name) + fieldCount(value)), to: &bytes)
        ProtobufText.append(1, content: name, to: &bytes)
        ProtobufText.append(2, content: value, to: &bytes)
    }

    /// Appends a label as version 1 writes it.
    static func append(_ label: Label, to bytes: inout [UInt8]) {
        var label = label
        label.name.withUTF8 { name in
            label.value.withUTF8 { value in
                append(UnsafeRawBufferPointer(name), UnsafeRawBufferPointer(value), to: &bytes)
            }
        }
    }
}
