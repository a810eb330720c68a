import CLibPQ

/// The answer to one statement: rows in binary format. Belongs to the thread that asked for it.
package final class PostgresRows {
    private let result: OpaquePointer
    /// Number of rows.
    package let count: Int

    init(taking result: OpaquePointer) {
        self.result = result
        count = Int(PQntuples(result))
    }

    deinit { PQclear(result) }

    /// Rows that an INSERT, UPDATE, DELETE or COPY touched.
    package var affectedCount: Int { Int(String(cString: PQcmdTuples(result))) ?? 0 }

    package func isNull(_ row: Int, _ column: Int) -> Bool {
        PQgetisnull(result, Int32(row), Int32(column)) == 1
    }

    /// The raw bytes of a value, valid inside `body` only; none for NULL.
    package func withBytes<T>(
        _ row: Int, _ column: Int, _ body: (UnsafeRawBufferPointer) throws -> T
    ) rethrows -> T {
        precondition(row < count && column < Int(PQnfields(result)), "outside of the answer")
        let length = Int(PQgetlength(result, Int32(row), Int32(column)))
        return try body(
            UnsafeRawBufferPointer(
                start: PQgetvalue(result, Int32(row), Int32(column)), count: length))
    }

    package func bytes(_ row: Int, _ column: Int) -> [UInt8] {
        withBytes(row, column) { [UInt8]($0) }
    }

    package func text(_ row: Int, _ column: Int) -> String {
        withBytes(row, column) { String(decoding: $0, as: UTF8.self) }
    }

    package func optionalText(_ row: Int, _ column: Int) -> String? {
        isNull(row, column) ? nil : text(row, column)
    }

    /// An int2, int4 or int8. Throws `decoding` for NULL and other types.
    package func integer(_ row: Int, _ column: Int) throws(PostgresError) -> Int64 {
        let value = withBytes(row, column) { bytes -> Int64? in
            switch bytes.count {
            case 2: Int64(Int16(bigEndian: bytes.loadUnaligned(as: Int16.self)))
            case 4: Int64(Int32(bigEndian: bytes.loadUnaligned(as: Int32.self)))
            case 8: Int64(bigEndian: bytes.loadUnaligned(as: Int64.self))
            default: nil
            }
        }
        guard let value else {
            throw .decoding("column \(column) of row \(row) is not an integer")
        }
        return value
    }

    package func optionalInteger(_ row: Int, _ column: Int) throws(PostgresError) -> Int64? {
        isNull(row, column) ? nil : try integer(row, column)
    }

    /// An int4. Throws `decoding` for NULL and other types.
    package func int4(_ row: Int, _ column: Int) throws(PostgresError) -> Int32 {
        guard let value = Int32(exactly: try integer(row, column)) else {
            throw .decoding("column \(column) of row \(row) exceeds 32 bits")
        }
        return value
    }

    /// A float8, bit for bit. Throws `decoding` for NULL and other types.
    package func float8(_ row: Int, _ column: Int) throws(PostgresError) -> Double {
        let value = withBytes(row, column) { bytes in
            bytes.count == 8
                ? Double(bitPattern: UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self))) : nil
        }
        guard let value else { throw .decoding("column \(column) of row \(row) is not a float8") }
        return value
    }

    package func bool(_ row: Int, _ column: Int) -> Bool {
        withBytes(row, column) { $0.first == 1 }
    }

    package func int4Array(_ row: Int, _ column: Int) throws(PostgresError) -> [Int32] {
        try array(row, column, width: 4) { Int32(bigEndian: $0.loadUnaligned(as: Int32.self)) }
    }

    package func int8Array(_ row: Int, _ column: Int) throws(PostgresError) -> [Int64] {
        try array(row, column, width: 8) { Int64(bigEndian: $0.loadUnaligned(as: Int64.self)) }
    }

    package func float8Array(_ row: Int, _ column: Int) throws(PostgresError) -> [Double] {
        try array(row, column, width: 8) {
            Double(bitPattern: UInt64(bigEndian: $0.loadUnaligned(as: UInt64.self)))
        }
    }

    package func textArray(_ row: Int, _ column: Int) throws(PostgresError) -> [String?] {
        try elements(row, column) { $0.map { String(decoding: $0, as: UTF8.self) } }
    }

    package func byteaArray(_ row: Int, _ column: Int) throws(PostgresError) -> [[UInt8]?] {
        try elements(row, column) { $0.map { [UInt8]($0) } }
    }

    private func array<T>(
        _ row: Int, _ column: Int, width: Int, _ element: (UnsafeRawPointer) -> T
    ) throws(PostgresError) -> [T] {
        let decoded: [T]? = withBytes(row, column) { bytes in
            PostgresArray.elements(bytes, width: width, element)
        }
        guard let decoded else {
            throw .decoding(
                "column \(column) of row \(row) is not an array of \(width)-byte values")
        }
        return decoded
    }

    private func elements<T>(
        _ row: Int, _ column: Int, _ element: (UnsafeRawBufferPointer?) -> T
    ) throws(PostgresError) -> [T] {
        let decoded: [T]? = withBytes(row, column) { bytes in
            guard let count = PostgresArray.count(bytes) else { return nil }
            var values: [T] = []
            values.reserveCapacity(count)
            var at = PostgresArray.headerBytes
            for _ in 0..<count {
                guard at + 4 <= bytes.count else { return nil }
                let length = Int32(
                    bigEndian: bytes.loadUnaligned(fromByteOffset: at, as: Int32.self))
                at += 4
                guard length >= 0 else {
                    values.append(element(nil))
                    continue
                }
                guard at + Int(length) <= bytes.count else { return nil }
                values.append(
                    element(UnsafeRawBufferPointer(rebasing: bytes[at..<(at + Int(length))])))
                at += Int(length)
            }
            return values
        }
        guard let decoded else { throw .decoding("column \(column) of row \(row) is not an array") }
        return decoded
    }
}

/// The binary form of one-dimensional arrays: a 20-byte header, then a 4-byte length before each element.
package enum PostgresArray {
    /// Bytes before the first element of an array that is not empty.
    package static let headerBytes = 20

    /// The element count; nil where the bytes are no one-dimensional array.
    package static func count(_ bytes: UnsafeRawBufferPointer) -> Int? {
        guard bytes.count >= 12 else { return nil }
        let dimensions = Int32(bigEndian: bytes.loadUnaligned(as: Int32.self))
        if dimensions == 0 { return 0 }
        guard dimensions == 1, bytes.count >= headerBytes else { return nil }
        let count = Int32(bigEndian: bytes.loadUnaligned(fromByteOffset: 12, as: Int32.self))
        return count >= 0 ? Int(count) : nil
    }

    static func elements<T>(
        _ bytes: UnsafeRawBufferPointer, width: Int, _ element: (UnsafeRawPointer) -> T
    ) -> [T]? {
        guard let count = count(bytes) else { return nil }
        guard count > 0 else { return [] }
        guard let base = bytes.baseAddress, bytes.count == headerBytes + count * (4 + width) else {
            return nil
        }
        return [T](unsafeUninitializedCapacity: count) { buffer, initialized in
            for index in 0..<count {
                (buffer.baseAddress! + index).initialize(  // the capacity is `count` > 0
                    to: element(base + headerBytes + index * (4 + width) + 4))
            }
            initialized = count
        }
    }
}
