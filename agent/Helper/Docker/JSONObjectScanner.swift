package import JSONReading

/// Cuts a stream of JSON objects, one behind the other, into objects.
///
/// Finds ends by brackets and strings alone; whether an object is valid JSON is its reader's business. An object over the
/// limit is stepped over and counted, so that one of them can't stop the stream for ever.
package struct JSONObjectScanner {
    private let objectBytesMax: Int
    private var object: [UInt8] = []
    private var depth = 0
    private var isInString = false
    private var isEscaped = false
    private var isTooLong = false
    /// Bytes seen since the stream began.
    private var offset = 0
    /// Objects that were stepped over.
    package private(set) var skippedCount = 0

    package init(objectBytesMax: Int) { self.objectBytesMax = objectBytesMax }

    /// The objects that end inside `bytes`. Throws where something else than objects and space stands between them.
    package mutating func objects(
        endingIn bytes: some Sequence<UInt8>
    ) throws(JSONError) -> [[UInt8]] {
        var complete: [[UInt8]] = []
        for byte in bytes {
            if depth == 0 {
                switch byte {
                case 32, 9, 10, 13:
                    offset += 1
                    continue
                case UInt8(ascii: "{"): break
                default: throw .malformed(offset: offset)
                }
            }
            offset += 1
            append(byte)
            guard step(byte) else { continue }
            if isTooLong { skippedCount += 1 } else { complete.append(object) }
            object = []
            isTooLong = false
        }
        return complete
    }

    private mutating func append(_ byte: UInt8) {
        guard !isTooLong else { return }
        guard object.count < objectBytesMax else {
            isTooLong = true
            object = []
            return
        }
        object.append(byte)
    }

    /// Whether `byte` ends the object.
    private mutating func step(_ byte: UInt8) -> Bool {
        if isInString {
            if isEscaped {
                isEscaped = false
            } else if byte == UInt8(ascii: "\\") {
                isEscaped = true
            } else if byte == UInt8(ascii: "\"") {
                isInString = false
            }
            return false
        }
        switch byte {
        case UInt8(ascii: "\""): isInString = true
        case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
        case UInt8(ascii: "}"), UInt8(ascii: "]"): depth -= 1
        default: break
        }
        return depth == 0
    }
}
