import Model

extension MetadataColumns {
    /// One name's values.
    enum Column: Sendable {
        case same(String)
        /// By line, an index in `values` plus 1.
        case dictionary(values: [String], numbers: [Int32])
        /// By line: below 0 none; a place in the line, or, where `literals` has the line, that value.
        case inLine(length: Int, places: [Int32], literals: [Int32: String])
        case literal([String?])
    }

    /// Reads columns for `lineCount` lines. Throws `LogBlockError`.
    package static func decode(
        _ bytes: [UInt8], lineCount: Int
    ) throws(LogBlockError) -> DecodedMetadata {
        guard !bytes.isEmpty else { return DecodedMetadata() }
        var reader = VarintReader(bytes)
        let nameCount = try reader.count()
        var names: [String] = []
        var columns: [Column] = []
        var anchors = [Int](repeating: 0, count: lineCount)
        for _ in 0..<nameCount {
            names.append(try reader.text())
            columns.append(try column(&reader, lineCount, &anchors))
        }
        guard reader.isAtEnd else { throw .badReference("there is more than the metadata") }
        return DecodedMetadata(names: names, columns: columns)
    }

    private static func column(
        _ reader: inout VarintReader, _ lineCount: Int, _ anchors: inout [Int]
    ) throws(LogBlockError) -> Column {
        let kind = reader.bytes[try reader.range(of: 1).lowerBound]
        switch Kind(rawValue: kind) {
        case .same: return .same(try reader.text())
        case .dictionary: return try dictionary(&reader, lineCount)
        case .inLine: return try inLine(&reader, lineCount, &anchors)
        case .hex: return try hex(&reader, lineCount)
        case .literal:
            var values: [String?] = []
            values.reserveCapacity(lineCount)
            for _ in 0..<lineCount {
                let length = try reader.count()
                guard length > 0 else {
                    values.append(nil)
                    continue
                }
                let range = try reader.range(of: length - 1)
                values.append(String(decoding: reader.bytes[range], as: UTF8.self))
            }
            return .literal(values)
        case nil: throw .badReference("a column of kind \(kind)")
        }
    }

    private static func dictionary(
        _ reader: inout VarintReader, _ lineCount: Int
    ) throws(LogBlockError) -> Column {
        let count = try reader.count()
        var values: [String] = []
        for _ in 0..<count { values.append(try reader.text()) }
        var numbers: [Int32] = []
        numbers.reserveCapacity(lineCount)
        for _ in 0..<lineCount {
            let number = try reader.count()
            guard number <= count else { throw .badReference("value \(number) of \(count)") }
            numbers.append(Int32(number))
        }
        return .dictionary(values: values, numbers: numbers)
    }

    private static func inLine(
        _ reader: inout VarintReader, _ lineCount: Int, _ anchors: inout [Int]
    ) throws(LogBlockError) -> Column {
        let length = try reader.count()
        var places: [Int32] = []
        places.reserveCapacity(lineCount)
        var literals: [Int32: String] = [:]
        for index in 0..<lineCount {
            let code = try reader.count()
            if code == 1 { literals[Int32(index)] = try reader.text() }
            guard code >= 2 else {
                places.append(-1)
                continue
            }
            let zigzag = code - 2
            let place = anchors[index] + (zigzag >> 1 ^ -(zigzag & 1))
            guard place >= 0 else { throw .badReference("a value before its line") }
            places.append(Int32(clamping: place))
            anchors[index] = place
        }
        return .inLine(length: length, places: places, literals: literals)
    }

    private static func hex(
        _ reader: inout VarintReader, _ lineCount: Int
    ) throws(LogBlockError) -> Column {
        let length = try reader.count()
        var values: [String?] = []
        values.reserveCapacity(lineCount)
        for _ in 0..<lineCount {
            guard try reader.count() > 0 else {
                values.append(nil)
                continue
            }
            values.append(Hex.text(reader.bytes[try reader.range(of: length / 2)]))
        }
        return .literal(values)
    }
}

/// Metadata columns, read.
package struct DecodedMetadata: Sendable {
    /// In ascending order of their bytes.
    let names: [String]
    let columns: [MetadataColumns.Column]
    /// What every line has, where no name's value differs from line to line.
    private let shared: Labels?

    init(names: [String] = [], columns: [MetadataColumns.Column] = []) {
        self.names = names
        self.columns = columns
        var labels: [Label] = []
        var isShared = true
        for (name, column) in zip(names, columns) {
            if case .same(let value) = column {
                labels.append(Label(name, value))
            } else {
                isShared = false
            }
        }
        shared = isShared ? Labels(sortedUnchecked: labels) : nil
    }

    /// The fields of a line; `line` gives its exact bytes. Throws where it refers to what the line does not have.
    func labels(
        of index: Int, _ line: UnsafeBufferPointer<UInt8>
    ) throws(LogBlockError) -> Labels {
        if let shared { return shared }
        var labels: [Label] = []
        labels.reserveCapacity(names.count)
        for (number, column) in columns.enumerated() {
            guard let value = try value(column, index, line) else { continue }
            labels.append(Label(names[number], value))
        }
        return Labels(sortedUnchecked: labels)
    }

    private func value(
        _ column: MetadataColumns.Column, _ index: Int, _ line: UnsafeBufferPointer<UInt8>
    ) throws(LogBlockError) -> String? {
        switch column {
        case .same(let value): return value
        case .dictionary(let values, let numbers):
            let number = numbers[index]
            return number > 0 ? values[Int(number) - 1] : nil
        case .inLine(let length, let places, let literals):
            let place = Int(places[index])
            guard place >= 0 else { return literals[Int32(index)] }
            guard place + length <= line.count else {
                throw .badReference("a value at \(place) of a line of \(line.count) bytes")
            }
            return String(decoding: line[place..<(place + length)], as: UTF8.self)
        case .literal(let values): return values[index]
        }
    }
}
