import RemoteWrite

/// Reads `KeyValue` and `AnyValue`, of a request as many as it may have.
struct AttributeReader {
    typealias Cursor = ProtobufCursor<OTLPError>

    private let countMax: Int
    private let depthMax: Int
    private var room: Int

    /// Attributes and their values, those inside of others too; arrays and maps inside each other.
    init(countMax: Int, depthMax: Int) {
        self.countMax = countMax
        self.depthMax = depthMax
        room = countMax
    }

    /// The `KeyValue` that comes next in `parent`.
    mutating func attribute(
        _ parent: inout Cursor, depth: Int = 0
    ) throws(OTLPError) -> Attribute {
        try takeRoom()
        var cursor = try parent.nested(.keyValue)
        var attribute = Attribute(key: "", value: .empty)
        while let key = try cursor.key() {
            switch key {
            case 1 << 3 | 2:
                attribute.key = String(
                    validating: cursor.slice(try cursor.content()), as: UTF8.self)
            case 2 << 3 | 2: attribute.value = try value(&cursor, depth: depth)
            default: try cursor.skip(key, known: 1...2)
            }
        }
        return attribute
    }

    /// The `AnyValue` that comes next in `parent`.
    mutating func value(
        _ parent: inout Cursor, depth: Int = 0
    ) throws(OTLPError) -> AttributeValue {
        guard depth < depthMax else { throw .tooDeep(max: depthMax) }
        try takeRoom()
        var cursor = try parent.nested(.anyValue)
        var value = AttributeValue.empty
        while let key = try cursor.key() {
            switch key {
            case 1 << 3 | 2:
                let bytes = cursor.slice(try cursor.content())
                value =
                    String(validating: bytes, as: UTF8.self).map { .text($0) }
                    ?? .invalid(Array(bytes))
            case 2 << 3: value = .boolean(try cursor.varint() != 0)
            case 3 << 3: value = .integer(try cursor.integer())
            case 4 << 3 | 1: value = .double(try cursor.double())
            case 5 << 3 | 2: value = .array(try array(&cursor, depth: depth))
            case 6 << 3 | 2: value = .map(try map(&cursor, depth: depth))
            case 7 << 3 | 2: value = .bytes(Array(cursor.slice(try cursor.content())))
            default: try cursor.skip(key, known: 1...7)
            }
        }
        return value
    }

    private mutating func array(
        _ parent: inout Cursor, depth: Int
    ) throws(OTLPError) -> [AttributeValue] {
        var array = try parent.nested(.array)
        var values: [AttributeValue] = []
        while let key = try array.key() {
            if key == 1 << 3 | 2 {
                values.append(try value(&array, depth: depth + 1))
            } else {
                try array.skip(key, known: 1...1)
            }
        }
        return values
    }

    private mutating func map(
        _ parent: inout Cursor, depth: Int
    ) throws(OTLPError) -> [Attribute] {
        var list = try parent.nested(.keyValueList)
        var members: [Attribute] = []
        while let key = try list.key() {
            if key == 1 << 3 | 2 {
                members.append(try attribute(&list, depth: depth + 1))
            } else {
                try list.skip(key, known: 1...1)
            }
        }
        return members
    }

    private mutating func takeRoom() throws(OTLPError) {
        guard room > 0 else { throw .tooMany("attributes", max: countMax) }
        room -= 1
    }
}
