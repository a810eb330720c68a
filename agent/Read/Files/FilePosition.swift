import Model
package import World

/// What a file begins with: the length and FNV-1a hash of up to `bytesMax` first bytes. An inode alone can be reused.
package struct FileSignature: Hashable, Sendable {
    package static let bytesMax = 256

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
        let head = try file.read(at: 0, count: length)
        return head.count == length && FileSignature(head: head) == self
    }
}

/// How far a log file was read: which file, known by identity and head, and the offset after the last entry.
///
///     version 1 │ device 8 │ inode 8 │ offset 8 │ signature length 2 │ signature hash 8      little endian, 35 bytes
package struct FilePosition: Hashable, Sendable {
    package var identity: FileIdentity
    package var offset: Int64
    package var signature: FileSignature

    package init(identity: FileIdentity, offset: Int64, signature: FileSignature) {
        self.identity = identity
        self.offset = offset
        self.signature = signature
    }

    /// Nil where `bytes` are no position of this version.
    package init?(bytes: [UInt8]) {
        guard bytes.count == Self.byteCount, bytes[0] == Self.version else { return nil }
        func number(_ range: Range<Int>) -> UInt64 {
            bytes[range].reversed().reduce(0) { $0 << 8 | UInt64($1) }
        }
        let offset = Int64(bitPattern: number(17..<25))
        let length = Int(number(25..<27))
        guard offset >= 0, length <= FileSignature.bytesMax else { return nil }
        identity = FileIdentity(device: number(1..<9), inode: number(9..<17))
        self.offset = offset
        signature = FileSignature(length: length, hash: number(27..<35))
    }

    package var bytes: [UInt8] {
        var bytes = [Self.version]
        func append(_ value: UInt64, _ count: Int) {
            for shift in 0..<count { bytes.append(UInt8(truncatingIfNeeded: value >> (8 * shift))) }
        }
        append(identity.device, 8)
        append(identity.inode, 8)
        append(UInt64(bitPattern: offset), 8)
        append(UInt64(signature.length), 2)
        append(signature.hash, 8)
        return bytes
    }

    private static let version: UInt8 = 1
    private static let byteCount = 35
}

/// The rotated files beside a log file, by the names that logrotate gives them.
struct RotatedSiblings {
    let tree: any WorldFileTree
    let path: String

    /// Paths of `name.N` and `name-DATE` beside `path`, oldest first; compressed files are left out.
    func oldestFirst() -> [String] {
        let slash = path.lastIndex(of: "/")
        let folder = slash.map { String(path[..<$0]) } ?? "."
        let name = slash.map { String(path[path.index(after: $0)...]) } ?? path
        let names = ((try? tree.list(folder.isEmpty ? "/" : folder)) ?? []).filter {
            $0.hasPrefix(name) && isRotation($0.dropFirst(name.count))
        }
        return names.sorted { a, b in
            let (a, b) = (a.dropFirst(name.count + 1), b.dropFirst(name.count + 1))
            // .10 is older than .2; a date is older the smaller it is, and older than any number that remains.
            guard let first = Int(a), let second = Int(b), a.count < 6, b.count < 6 else {
                return bytesPrecede(String(a), String(b))
            }
            return first > second
        }.prefix(Self.siblingsMax).map { folder + "/" + $0 }
    }

    private func isRotation(_ suffix: Substring) -> Bool {
        guard let first = suffix.first, first == "." || first == "-", suffix.count > 1 else {
            return false
        }
        return suffix.dropFirst().allSatisfy { $0.isNumber || $0 == "-" || $0 == "." }
    }

    /// At most this many rotated files are looked at.
    private static let siblingsMax = 256
}
