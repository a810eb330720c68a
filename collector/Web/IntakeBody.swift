import Gzip

/// The content of a pushed body, taken from the bytes that all requests under way may hold.
struct IntakeBody {
    /// How a body is compressed; `deflate` is without zlib's header, as Loki reads it.
    enum Encoding: Hashable, Sendable { case plain, gzip, deflate }

    /// What deflate is taken to grow by until it is known.
    private static let deflateGrowth = 16

    let budget: ByteBudget
    /// Longest content.
    let bytesMax: Int
    /// How many times the content is in memory while it is read.
    let copies: Int
    /// What the request holds of `budget`; give it back.
    private(set) var held = 0

    init(budget: ByteBudget, bytesMax: Int, copies: Int) {
        self.budget = budget
        self.bytesMax = bytesMax
        self.copies = copies
    }

    func giveBack() { budget.giveBack(held) }

    /// Takes the bytes of a content of `count` from the budget. Throws 503.
    mutating func take(_ count: Int) throws(IngestRefusal) {
        guard budget.take(count * copies) else { throw SampleIntake.isCrowded }
        held += count * copies
    }

    /// The content of `body`. Throws 413, 400 and 503.
    mutating func content(
        of body: [UInt8], _ encoding: Encoding
    ) throws(IngestRefusal) -> [UInt8] {
        guard encoding != .plain else {
            guard body.count <= bytesMax else { throw tooLong }
            try take(body.count)
            return body
        }
        let expected = expectedCount(body, encoding)
        try take(expected)
        if let content = try Self.content(body, encoding, bytesMax: expected) { return content }
        // Longer than it says: several members, or a bomb.
        try take(bytesMax - expected)
        if let content = try Self.content(body, encoding, bytesMax: bytesMax) { return content }
        throw tooLong
    }

    private var tooLong: IngestRefusal {
        IngestRefusal(
            413, "the body decompresses to more than \(bytesMax) bytes: send less in one request")
    }

    /// What the last member of a gzip file says its content's length is, as far as it is allowed. Source: RFC 1952,
    /// `ISIZE`.
    private func expectedCount(_ body: [UInt8], _ encoding: Encoding) -> Int {
        guard encoding == .gzip else { return min(body.count * Self.deflateGrowth, bytesMax) }
        return min(body.suffix(4).reversed().reduce(0) { $0 << 8 | Int($1) }, bytesMax)
    }

    /// Nil where the content is longer than `bytesMax`.
    private static func content(
        _ body: [UInt8], _ encoding: Encoding, bytesMax: Int
    ) throws(IngestRefusal) -> [UInt8]? {
        do throws(GzipError) {
            return encoding == .gzip
                ? try Gzip.decompress(body, bytesMax: bytesMax)
                : try Gzip.decompressDeflate(body, bytesMax: bytesMax)
        } catch {
            switch error {
            case .tooLong: return nil
            case .malformed where encoding == .deflate:
                throw IngestRefusal(400, "the body is not deflate, or is cut short")
            case .malformed: throw IngestRefusal(400, error.description)
            case .failed: throw IngestRefusal(503, error.description, retryAfter: 5)
            }
        }
    }
}
