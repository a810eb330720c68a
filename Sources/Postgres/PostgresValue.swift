/// A statement's parameter; always bound, sent in PostgreSQL's binary format.
package enum PostgresValue: Sendable {
    case bool(Bool)
    case int2(Int16)
    case int4(Int32)
    case int8(Int64)
    case float8(Double)
    /// U+0000 is not a PostgreSQL character: the server refuses it (22021).
    case text(String)
    /// The same of bytes that are UTF-8.
    case utf8([UInt8])
    case bytea([UInt8])
    /// JSON text, checked by the server.
    case jsonb(String)
    case int4Array([Int32])
    case int8Array([Int64])
    case float8Array([Double])
    case textArray([String?])
    case byteaArray([[UInt8]?])
    case null(PostgresType)

    var type: PostgresType {
        switch self {
        case .bool: .bool
        case .int2: .int2
        case .int4: .int4
        case .int8: .int8
        case .float8: .float8
        case .text, .utf8: .text
        case .bytea: .bytea
        case .jsonb: .jsonb
        case .int4Array: .int4Array
        case .int8Array: .int8Array
        case .float8Array: .float8Array
        case .textArray: .textArray
        case .byteaArray: .byteaArray
        case .null(let type): type
        }
    }
}

/// The types that cross this library; the raw value is PostgreSQL's type number. Source: pg_type.dat, PostgreSQL 15.
package enum PostgresType: UInt32, Hashable, Sendable {
    case bool = 16
    case bytea = 17
    case int8 = 20
    case int2 = 21
    case int4 = 23
    case text = 25
    case float8 = 701
    case jsonb = 3802
    case byteaArray = 1001
    case int4Array = 1007
    case textArray = 1009
    case int8Array = 1016
    case float8Array = 1022
}

extension PostgresValue {
    package static func optional(_ text: String?) -> Self { text.map(Self.text) ?? .null(.text) }
    package static func optional(_ value: Int64?) -> Self { value.map(Self.int8) ?? .null(.int8) }

    /// Appends the binary form without its length; false for NULL, where nothing is appended.
    func appendBinary(to bytes: inout [UInt8]) -> Bool {
        switch self {
        case .bool(let value): bytes.append(value ? 1 : 0)
        case .int2(let value): bytes.appendBigEndian(UInt16(bitPattern: value))
        case .int4(let value): bytes.appendBigEndian(UInt32(bitPattern: value))
        case .int8(let value): bytes.appendBigEndian(UInt64(bitPattern: value))
        case .float8(let value): bytes.appendBigEndian(value.bitPattern)
        case .text(let value): bytes.append(contentsOf: value.utf8)
        case .utf8(let value), .bytea(let value): bytes.append(contentsOf: value)
        case .jsonb(let value):
            bytes.append(1)
            bytes.append(contentsOf: value.utf8)
        case .int4Array(let values):
            bytes.appendArrayHeader(count: values.count, element: .int4)
            for value in values {
                bytes.appendBigEndian(UInt32(4))
                bytes.appendBigEndian(UInt32(bitPattern: value))
            }
        case .int8Array(let values):
            bytes.appendArrayHeader(count: values.count, element: .int8)
            for value in values {
                bytes.appendBigEndian(UInt32(8))
                bytes.appendBigEndian(UInt64(bitPattern: value))
            }
        case .float8Array(let values):
            bytes.appendArrayHeader(count: values.count, element: .float8)
            for value in values {
                bytes.appendBigEndian(UInt32(8))
                bytes.appendBigEndian(value.bitPattern)
            }
        case .textArray(let values):
            bytes.appendArrayHeader(
                count: values.count, element: .text, hasNull: values.contains { $0 == nil })
            for value in values { bytes.appendElement(value.map { Array($0.utf8) }) }
        case .byteaArray(let values):
            bytes.appendArrayHeader(
                count: values.count, element: .bytea, hasNull: values.contains { $0 == nil })
            for value in values { bytes.appendElement(value) }
        case .null: return false
        }
        return true
    }
}

extension [UInt8] {
    mutating func appendBigEndian(_ value: some FixedWidthInteger) {
        Swift.withUnsafeBytes(of: value.bigEndian) { append(contentsOf: $0) }
    }

    fileprivate mutating func appendArrayHeader(
        count: Int, element: PostgresType, hasNull: Bool = false
    ) {
        appendBigEndian(UInt32(count == 0 ? 0 : 1))
        appendBigEndian(UInt32(hasNull ? 1 : 0))
        appendBigEndian(element.rawValue)
        guard count > 0 else { return }
        appendBigEndian(UInt32(count))
        appendBigEndian(UInt32(1))
    }

    fileprivate mutating func appendElement(_ value: [UInt8]?) {
        guard let value else {
            appendBigEndian(UInt32.max)
            return
        }
        appendBigEndian(UInt32(value.count))
        append(contentsOf: value)
    }
}

/// Rows in the making for `COPY … FROM STDIN (FORMAT binary)`. Source: PostgreSQL 15 manual, COPY, "Binary Format".
package struct BinaryCopyRows: Sendable {
    private(set) var bytes: [UInt8]
    /// Rows begun so far.
    package private(set) var count = 0
    private let columnCount: Int

    /// Every row will have `columnCount` values.
    package init(columnCount: Int) {
        self.columnCount = columnCount
        bytes = Array("PGCOPY\n".utf8) + [0xff, 0x0d, 0x0a, 0]
        bytes += [UInt8](repeating: 0, count: 8)
    }

    /// Appends a row; `values.count` must be the column count.
    package mutating func append(_ values: [PostgresValue]) {
        precondition(values.count == columnCount, "row of another width")
        count += 1
        bytes.appendBigEndian(UInt16(columnCount))
        for value in values {
            let lengthAt = bytes.count
            bytes.appendBigEndian(UInt32.max)
            guard value.appendBinary(to: &bytes) else { continue }
            let length = UInt32(bytes.count - lengthAt - 4)
            withUnsafeBytes(of: length.bigEndian) {
                bytes.replaceSubrange(lengthAt..<(lengthAt + 4), with: $0)
            }
        }
    }

    var terminated: [UInt8] { bytes + [0xff, 0xff] }
}
