import LinearRegex
import Model

/// The fields beside the lines of a block, a column a name.
///
/// `count of names; (name; kind; data)…` with names in ascending order of their bytes. By kind:
/// - 0: one value that all lines have;
/// - 1: values, and for each line 0 or the value's number from 1;
/// - 2: a length, and for each line 0, or 1 and a value, or where in the line a value of that length begins: how far from
///   the value of the column of this kind before it, or else from the line's begin, zigzag, plus 2;
/// - 3: a length of hexadecimal digits, and for each line 0, or 1 and half as many bytes;
/// - 4: for each line 0, or the value's length plus 1 and the value.
/// Counts are LEB128; byte strings stand behind their length.
package enum MetadataColumns {
    enum Kind: UInt8 {
        case same = 0
        case dictionary
        case inLine
        case hex
        case literal
    }

    /// Different values of a name up to which they are numbered, unless a quarter of the lines is more.
    private static let dictionaryMax = 256
    /// Shorter values are not looked for in lines.
    private static let inLineBytesMin = 8

    // MARK: - Writing

    /// The columns, and the names in them.
    ///
    /// Odd lines are shown otherwise than they are: what is in them is not referred to.
    static func encode(
        _ entries: some Collection<LogEntry>, oddIndexes: Set<Int>
    ) -> (bytes: [UInt8], names: [String]) {
        var columns: [ExactText: [String?]] = [:]
        let count = entries.count
        for (index, entry) in entries.enumerated() {
            for label in entry.metadata {
                let name = ExactText(label.name)
                if columns[name] == nil { columns[name] = [String?](repeating: nil, count: count) }
                columns[name]?[index] = label.value
            }
        }
        guard !columns.isEmpty else { return ([], []) }
        let lines = entries.map(\.line)
        var writer = VarintWriter()
        writer.append(columns.count)
        let names = columns.keys.sorted {
            $0.text.utf8.lexicographicallyPrecedes($1.text.utf8)
        }
        var anchors = [Int](repeating: 0, count: count)
        for name in names {
            writer.append(Array(name.text.utf8))
            encode(columns[name] ?? [], lines, oddIndexes, &anchors, to: &writer)
        }
        return (writer.bytes, names.map(\.text))
    }

    private static func encode(
        _ values: [String?], _ lines: [[UInt8]], _ oddIndexes: Set<Int>, _ anchors: inout [Int],
        to writer: inout VarintWriter
    ) {
        let max = Swift.max(Self.dictionaryMax, values.count / 4)
        var numbers: [ExactText: Int] = [:]
        var isDictionary = true
        for case let value? in values {
            let key = ExactText(value)
            if numbers[key] == nil { numbers[key] = numbers.count }
            if numbers.count > max {
                isDictionary = false
                break
            }
        }
        if isDictionary {
            if numbers.count == 1, values.allSatisfy({ $0 != nil }), let only = values[0] {
                writer.append(raw: [Kind.same.rawValue])
                writer.append(Array(only.utf8))
                return
            }
            let isOfFew = numbers.count * 2 <= values.count || numbers.count <= 2
            // Two bytes a line say where a value stands in it: a few long ones, such as those of a trace, cost more by number.
            let byteCount = numbers.keys.reduce(values.count) { $0 + $1.text.utf8.count + 1 }
            if isOfFew,
                byteCount <= 2 * values.count
                    || !areInLines(values.map { $0.map { Array($0.utf8) } }, lines, oddIndexes)
            {
                encodeDictionary(values, numbers, to: &writer)
                return
            }
        }
        encodeDistinct(
            values.map { $0.map { Array($0.utf8) } }, lines, oddIndexes, &anchors, to: &writer)
    }

    /// Whether most values are found in their lines.
    private static func areInLines(
        _ values: [[UInt8]?], _ lines: [[UInt8]], _ oddIndexes: Set<Int>
    ) -> Bool {
        let length = values.lazy.compactMap { $0?.count }.first ?? 0
        guard length >= inLineBytesMin else { return false }
        let places = places(of: values, length: length, lines, oddIndexes)
        return places.reduce(0) { $0 + ($1 == nil ? 0 : 1) } * 2 > values.count
    }

    private static func encodeDictionary(
        _ values: [String?], _ numbers: [ExactText: Int], to writer: inout VarintWriter
    ) {
        writer.append(raw: [Kind.dictionary.rawValue])
        writer.append(numbers.count)
        for (value, _) in numbers.sorted(by: { $0.value < $1.value }) {
            writer.append(Array(value.text.utf8))
        }
        for value in values {
            writer.append(value.map { (numbers[ExactText($0)] ?? 0) + 1 } ?? 0)
        }
    }

    private static func encodeDistinct(
        _ values: [[UInt8]?], _ lines: [[UInt8]], _ oddIndexes: Set<Int>,
        _ anchors: inout [Int], to writer: inout VarintWriter
    ) {
        let length = values.lazy.compactMap { $0?.count }.first ?? 0
        if length >= inLineBytesMin {
            let places = places(of: values, length: length, lines, oddIndexes)
            let foundCount = places.reduce(0) { $0 + ($1 == nil ? 0 : 1) }
            if foundCount * 2 > values.count {
                writer.append(raw: [Kind.inLine.rawValue])
                writer.append(length)
                for (index, (value, place)) in zip(values, places).enumerated() {
                    if let place {
                        writer.append(zigzag(place - anchors[index]) + 2)
                        anchors[index] = place
                    } else if let value {
                        writer.append(1)
                        writer.append(value)
                    } else {
                        writer.append(0)
                    }
                }
                return
            }
        }
        let isHex =
            length > 0 && length % 2 == 0
            && values.allSatisfy { $0 == nil || $0?.count == length && Hex.isLower($0 ?? []) }
        if isHex {
            writer.append(raw: [Kind.hex.rawValue])
            writer.append(length)
            for value in values {
                writer.append(value == nil ? 0 : 1)
                if let value { writer.append(raw: Hex.packed(value)) }
            }
            return
        }
        writer.append(raw: [Kind.literal.rawValue])
        for value in values {
            guard let value else {
                writer.append(0)
                continue
            }
            writer.append(value.count + 1)
            writer.append(raw: value)
        }
    }

    private static func zigzag(_ value: Int) -> Int { value << 1 ^ value >> (Int.bitWidth - 1) }

    /// Where in its line each value of that length begins. Values stand at about the same place of each line.
    private static func places(
        of values: [[UInt8]?], length: Int, _ lines: [[UInt8]], _ oddIndexes: Set<Int>
    ) -> [Int?] {
        var last = 0
        return values.indices.map { index in
            guard let value = values[index], value.count == length, !oddIndexes.contains(index)
            else { return nil }
            guard let place = place(of: value, in: lines[index], near: last) else { return nil }
            last = place
            return place
        }
    }

    private static func place(of value: [UInt8], in line: [UInt8], near: Int) -> Int? {
        if near <= line.count - value.count,
            line[near..<(near + value.count)].elementsEqual(value)
        {
            return near
        }
        return Needle(value).firstIndex(in: line)
    }
}

/// Lower-case hexadecimal digits.
enum Hex {
    static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        default: nil
        }
    }

    static func isLower(_ bytes: [UInt8]) -> Bool { bytes.allSatisfy { digit($0) != nil } }

    /// Two digits a byte.
    static func packed(_ digits: [UInt8]) -> [UInt8] {
        stride(from: 0, to: digits.count - 1, by: 2).map {
            (digit(digits[$0]) ?? 0) << 4 | (digit(digits[$0 + 1]) ?? 0)
        }
    }

    static func text(_ bytes: ArraySlice<UInt8>) -> String {
        let digits = Array("0123456789abcdef".utf8)
        return String(
            decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }
}
