/// JSON that is written piece by piece, so that no more of it is in memory than is on its way.
package protocol JSONPieces: Sendable {
    /// Writes a little more, some 100 KiB at most but for what can't be parted; false, and nothing written, after the end.
    mutating func write(to json: inout JSONWriter) -> Bool
}

/// A body whose pieces are made as they are sent. It keeps what it is made of until it has been.
package struct PiecewiseBody: Sendable {
    /// Bytes of a piece, about.
    static let pieceBytes = 64 << 10

    private var pieces: any JSONPieces
    private var json = JSONWriter(capacity: pieceBytes * 2)

    package init(_ pieces: any JSONPieces) { self.pieces = pieces }

    /// The next bytes; nil after the last.
    package mutating func next() -> [UInt8]? {
        while json.bytes.count < Self.pieceBytes {
            guard pieces.write(to: &json) else { break }
        }
        let piece = json.take()
        return piece.isEmpty ? nil : piece
    }
}

/// An array of elements that are each written at once.
struct ListPieces<Element: Sendable>: JSONPieces {
    /// Elements between two looks at how much there is.
    private static var runLength: Int { 16 }

    private let elements: ArraySlice<Element>
    private let write: @Sendable (Element, inout JSONWriter) -> Void
    private var next: Int?
    private var isAtEnd = false

    init(
        _ elements: ArraySlice<Element>,
        _ write: @escaping @Sendable (Element, inout JSONWriter) -> Void
    ) {
        self.elements = elements
        self.write = write
    }

    mutating func write(to json: inout JSONWriter) -> Bool {
        if isAtEnd { return false }
        let start = next ?? elements.startIndex
        if next == nil { json.beginArray() }
        let end = min(start + Self.runLength, elements.endIndex)
        for element in elements[start..<end] { write(element, &json) }
        next = end
        if end == elements.endIndex {
            json.endArray()
            isAtEnd = true
        }
        return true
    }
}
