/// A text that equals another only byte for byte, as names and values of labels do; a `String` equals what is canonically
/// equivalent too (`é` in one scalar or two).
package struct ExactText: Hashable, Sendable, ExpressibleByStringLiteral {
    package let text: String

    @inlinable
    package init(_ text: String) { self.text = text }

    @inlinable
    package init(stringLiteral text: String) { self.text = text }

    @inlinable
    package static func == (a: Self, b: Self) -> Bool {
        a.text.utf8.elementsEqual(b.text.utf8)
    }

    @inlinable
    package func hash(into hasher: inout Hasher) {
        var text = text
        text.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
        hasher.combine(UInt8(0xff))
    }
}
