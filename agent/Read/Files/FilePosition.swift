package import Model
package import World

/// What a file begins with: the length and FNV-1a hash of up to `bytesMax` first bytes. An inode alone can be reused.
/// The signature of a short file grows with it.
package struct FileSignature: Hashable, Sendable {
    package static let bytesMax = 1024

    package var length: Int
    package var hash: UInt64

    /// The signature of a file that begins with `head`.
    package init(head: some Sequence<UInt8>) {
        var length = 0
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in head.prefix(Self.bytesMax) {
            hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3
            length += 1
        }
        self.length = length
        self.hash = hash
    }

    init(length: Int, hash: UInt64) {
        self.length = length
        self.hash = hash
    }

    /// Whether `file` begins with what this signature was made of. Any file begins with nothing.
    func matches(_ file: any WorldFile) throws(FileError) -> Bool {
        guard length > 0 else { return true }
        let head = try file.read(at: 0, count: length)
        return head.count == length && FileSignature(head: head) == self
    }
}

/// How far a log file was read: which file, known by identity and head, and the offset after the last entry.
///
///     version 2 │ flags 1 │ device 8 │ inode 8 │ offset 8 │ modified 8 │ signature length 2 │ hash 8 │ path …
///
/// Little endian, 44 bytes and the path under which the file is followed; flags: 1 the file was left after its end.
/// Version 1 is `version 1 │ device │ inode │ offset │ length │ hash`, 35 bytes.
package struct FilePosition: Hashable, Sendable {
    package var identity: FileIdentity
    package var offset: Int64
    package var signature: FileSignature
    /// The file's time when it was last read; the epoch where unknown. What was rotated after it is newer.
    package var modified: TimestampNS
    /// It was rotated and read to its end: what follows is in newer files.
    package var isFinished: Bool

    package init(
        identity: FileIdentity, offset: Int64, signature: FileSignature,
        modified: TimestampNS = TimestampNS(0), isFinished: Bool = false
    ) {
        self.identity = identity
        self.offset = offset
        self.signature = signature
        self.modified = modified
        self.isFinished = isFinished
    }

    /// Nil where `bytes` are no position of a version that is known.
    package init?(bytes: [UInt8]) {
        func number(_ range: Range<Int>) -> UInt64 {
            bytes[range].reversed().reduce(0) { $0 << 8 | UInt64($1) }
        }
        let at: Int
        switch bytes.first {
        case 1 where bytes.count == 35: at = 1
        case 2 where bytes.count >= Self.byteCount && bytes[1] <= 1: at = 2
        default: return nil
        }
        let hasTime = at == 2
        let signatureAt = at + (hasTime ? 32 : 24)
        let offset = Int64(bitPattern: number((at + 16)..<(at + 24)))
        let length = Int(number(signatureAt..<(signatureAt + 2)))
        guard offset >= 0, length <= FileSignature.bytesMax else { return nil }
        identity = FileIdentity(
            device: number(at..<(at + 8)), inode: number((at + 8)..<(at + 16)))
        self.offset = offset
        signature = FileSignature(
            length: length, hash: number((signatureAt + 2)..<(signatureAt + 10)))
        modified = TimestampNS(
            hasTime ? Int64(bitPattern: number((at + 24)..<(at + 32))) : 0)
        isFinished = hasTime && bytes[1] == 1
    }

    /// The path that was encoded with a position; empty where there is none.
    static func path(in bytes: [UInt8]) -> String {
        guard bytes.first == 2, bytes.count > byteCount else { return "" }
        return String(decoding: bytes[byteCount...], as: UTF8.self)
    }

    package var bytes: [UInt8] { bytes(path: "") }

    /// The encoding, with the path under which the file is followed.
    func bytes(path: String) -> [UInt8] {
        var bytes: [UInt8] = [2, isFinished ? 1 : 0]
        func append(_ value: UInt64, _ count: Int) {
            for shift in 0..<count { bytes.append(UInt8(truncatingIfNeeded: value >> (8 * shift))) }
        }
        append(identity.device, 8)
        append(identity.inode, 8)
        append(UInt64(bitPattern: offset), 8)
        append(UInt64(bitPattern: modified.rawValue), 8)
        append(UInt64(signature.length), 2)
        append(signature.hash, 8)
        return bytes + path.utf8
    }

    static let byteCount = 44

    /// A file that was empty when it was seen.
    var isBlank: Bool { offset == 0 && signature.length == 0 }
}
