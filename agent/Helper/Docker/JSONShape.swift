import JSONReading

/// What may pass of a JSON value. Whatever a shape does not name does not exist for the reader of the result.
indirect enum JSONShape: Sendable {
    case integer
    case boolean
    /// A string; the closure returns what passes of it, nil drops the value and its member with it.
    case text(@Sendable (String) -> String?)
    /// The first `countMax` elements.
    case array(of: JSONShape, countMax: Int)
    /// The members named here, each once.
    case object([(name: String, shape: JSONShape)])
    /// An object whose names are data: the first `countMax` members that `keeps` and `of` let pass.
    case map(of: JSONShape, countMax: Int, keeps: @Sendable (String) -> Bool)

    /// A string of up to `bytesMax` bytes; a longer one is dropped, since half a value is a wrong value.
    static func text(upTo bytesMax: Int) -> JSONShape {
        .text { $0.utf8.count <= bytesMax ? $0 : nil }
    }
}

/// Rebuilds JSON from what a shape lets pass, in one pass over the text.
///
/// A filter by deny-list is wrong the day Docker adds a field; this is the other kind. Values of another type than the
/// shape's are dropped, `null` passes everywhere.
struct JSONProjection {
    /// Digits that a number may have: 64 bits and a sign need 20.
    static let numberBytesMax = 32

    private var reader: JSONReader
    private var output: [UInt8] = []

    /// The part of `bytes` that fits `shape`. Throws where `bytes` is no JSON, or as a whole does not fit.
    static func project(_ bytes: [UInt8], onto shape: JSONShape) throws(JSONError) -> [UInt8] {
        var projection = JSONProjection(reader: JSONReader(bytes))
        if try projection.reader.kind() == .null { throw .unexpectedShape }
        guard try projection.pass(shape) else { throw .unexpectedShape }
        try projection.reader.end()
        return projection.output
    }

    private init(reader: JSONReader) { self.reader = reader }

    /// Reads the next value and writes what passes; false where nothing does.
    private mutating func pass(_ shape: JSONShape) throws(JSONError) -> Bool {
        let kind = try reader.kind()
        switch (shape, kind) {
        case (_, .null):
            try reader.null()
            output += "null".utf8
            return true
        case (.integer, .number):
            let digits = try reader.number()
            guard digits.count <= Self.numberBytesMax else { return false }
            output += digits
            return true
        case (.boolean, .boolean):
            output += try reader.boolean() ? "true".utf8 : "false".utf8
            return true
        case (.text(let passing), .string):
            guard let text = passing(try reader.string()) else { return false }
            JSONText.append(text, to: &output)
            return true
        case (.array(let element, let countMax), .array):
            try passArray(element, countMax)
            return true
        case (.object(let members), .object):
            try passObject(members)
            return true
        case (.map(let value, let countMax, let keeps), .object):
            try passMap(value, countMax, keeps)
            return true
        case (.integer, _), (.boolean, _), (.text, _), (.array, _), (.object, _), (.map, _):
            try reader.skip()
            return false
        }
    }

    private mutating func passArray(_ element: JSONShape, _ countMax: Int) throws(JSONError) {
        output.append(UInt8(ascii: "["))
        try reader.enter()
        var isFirst = true
        var count = 0
        while try reader.nextElement(isFirst: &isFirst) {
            guard count < countMax else {
                try reader.skip()
                continue
            }
            let mark = output.count
            if count > 0 { output.append(UInt8(ascii: ",")) }
            if try pass(element) { count += 1 } else { output.removeSubrange(mark...) }
        }
        output.append(UInt8(ascii: "]"))
    }

    private mutating func passObject(
        _ members: [(name: String, shape: JSONShape)]
    ) throws(JSONError) {
        precondition(members.count <= 64, "one bit a member")
        output.append(UInt8(ascii: "{"))
        try reader.enter()
        var isFirst = true
        var written: UInt64 = 0
        while let name = try reader.nextName(isFirst: &isFirst) {
            guard let index = members.firstIndex(where: { $0.name == name }),
                written & 1 << UInt64(index) == 0
            else {
                try reader.skip()
                continue
            }
            if try passMember(name, members[index].shape, isFirst: written == 0) {
                written |= 1 << UInt64(index)
            }
        }
        output.append(UInt8(ascii: "}"))
    }

    private mutating func passMap(
        _ value: JSONShape, _ countMax: Int, _ keeps: @Sendable (String) -> Bool
    ) throws(JSONError) {
        output.append(UInt8(ascii: "{"))
        try reader.enter()
        var isFirst = true
        var count = 0
        while let name = try reader.nextName(isFirst: &isFirst) {
            guard count < countMax, keeps(name) else {
                try reader.skip()
                continue
            }
            if try passMember(name, value, isFirst: count == 0) { count += 1 }
        }
        output.append(UInt8(ascii: "}"))
    }

    private mutating func passMember(
        _ name: String, _ shape: JSONShape, isFirst: Bool
    ) throws(JSONError) -> Bool {
        let mark = output.count
        if !isFirst { output.append(UInt8(ascii: ",")) }
        JSONText.append(name, to: &output)
        output.append(UInt8(ascii: ":"))
        guard try pass(shape) else {
            output.removeSubrange(mark...)
            return false
        }
        return true
    }
}
