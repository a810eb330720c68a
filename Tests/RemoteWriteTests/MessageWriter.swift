import Model
import RemoteWrite

/// Writes protocol buffers for the tests; knows no message.
struct MessageWriter {
    var bytes: [UInt8] = []

    mutating func varint(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }

    mutating func integer(_ field: UInt64, _ value: Int64) {
        varint(field << 3)
        varint(UInt64(bitPattern: value))
    }

    mutating func zigzag(_ field: UInt64, _ value: Int64) {
        varint(field << 3)
        varint(Self.zigzag(value))
    }

    mutating func double(_ field: UInt64, _ value: Double) {
        varint(field << 3 | 1)
        append(value)
    }

    mutating func append(_ value: Double) {
        for shift in stride(from: 0, to: 64, by: 8) {
            bytes.append(UInt8(truncatingIfNeeded: value.bitPattern >> UInt64(shift)))
        }
    }

    mutating func bytes(_ field: UInt64, _ content: [UInt8]) {
        varint(field << 3 | 2)
        varint(UInt64(content.count))
        bytes += content
    }

    mutating func text(_ field: UInt64, _ text: String) { bytes(field, Array(text.utf8)) }

    mutating func message(_ field: UInt64, _ body: (inout MessageWriter) -> Void) {
        bytes(field, MessageWriter.bytes(body))
    }

    static func bytes(_ body: (inout MessageWriter) -> Void) -> [UInt8] {
        var writer = MessageWriter()
        body(&writer)
        return writer.bytes
    }

    static func zigzag(_ value: Int64) -> UInt64 {
        UInt64(bitPattern: (value << 1) ^ (value >> 63))
    }

    /// A packed column of zigzag numbers.
    mutating func packed(_ field: UInt64, zigzag values: [Int64]) {
        message(field) { column in for value in values { column.varint(Self.zigzag(value)) } }
    }

    mutating func packed(_ field: UInt64, _ values: [UInt64]) {
        message(field) { column in for value in values { column.varint(value) } }
    }

    mutating func packed(_ field: UInt64, doubles values: [Double]) {
        message(field) { column in for value in values { column.append(value) } }
    }

    mutating func span(_ field: UInt64, _ offset: Int64, _ length: Int64) {
        message(field) { span in
            span.zigzag(1, offset)
            span.integer(2, length)
        }
    }

    // MARK: The messages

    /// Labels of version 1.
    mutating func labels(_ pairs: [(String, String)]) {
        for (name, value) in pairs {
            message(1) { label in
                label.text(1, name)
                label.text(2, value)
            }
        }
    }

    /// A sample of field 2.
    mutating func sample(_ timestamp: Int64, _ value: Double, start: Int64 = 0) {
        message(2) { sample in
            sample.double(1, value)
            sample.integer(2, timestamp)
            if start != 0 { sample.integer(3, start) }
        }
    }

    /// The integer histogram of the tests: schema 1, buckets -1, 0, 3 of 2, 5, 1, a zero bucket of 4.
    mutating func integerHistogram(_ field: UInt64, _ timestamp: Int64, start: Int64 = 0) {
        message(field) { histogram in
            histogram.integer(1, 15)
            histogram.double(3, 20.5)
            histogram.zigzag(4, 1)
            histogram.double(5, 0.001)
            histogram.integer(6, 4)
            histogram.span(8, 2, 1)
            histogram.packed(9, zigzag: [3])
            histogram.span(11, -1, 2)
            histogram.span(11, 2, 1)
            histogram.packed(12, zigzag: [2, 3, -4])
            histogram.integer(14, 2)
            histogram.integer(15, timestamp)
            if start != 0 { histogram.integer(17, start) }
        }
    }

    static let integerHistogram = FloatHistogram(
        schema: 1, count: 15, sum: 20.5, zeroThreshold: 0.001, zeroCount: 4,
        positive: FloatHistogram.Buckets(indices: [-1, 0, 3], counts: [2, 5, 1]),
        negative: FloatHistogram.Buckets(indices: [2], counts: [3]), counterResetHint: .notReset)

    /// A float histogram of custom buckets.
    mutating func customHistogram(_ field: UInt64, _ timestamp: Int64) {
        message(field) { histogram in
            histogram.double(2, 3.5)
            histogram.double(3, -1)
            histogram.zigzag(4, -53)
            histogram.span(11, 0, 2)
            // Not packed.
            histogram.double(13, 1.5)
            histogram.double(13, 2)
            histogram.packed(16, doubles: [0.5, 10])
            histogram.integer(14, 3)
            histogram.integer(15, timestamp)
        }
    }

    static let customHistogram = FloatHistogram(
        schema: -53, count: 3.5, sum: -1,
        positive: FloatHistogram.Buckets(indices: [0, 1], counts: [1.5, 2]),
        customBounds: [0.5, 10], counterResetHint: .gauge)
}

extension WriteRequest {
    /// The label set of a series, decoded.
    func labels(_ index: Int) throws(LabelDefect) -> Labels {
        var result: Labels?
        var failure: LabelDefect?
        labelBytes.withUnsafeBytes { bytes in
            do throws(LabelDefect) {
                result = try RawLabels.seriesLabels(series[index].spelling(in: bytes))
            } catch { failure = error }
        }
        if let failure { throw failure }
        return result ?? .empty
    }
}
