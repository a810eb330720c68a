import CGlibc
import Glibc

/// Space for what the server notes of transactions: files that grow by a page every few thousand of them, which checkpoints
/// write. A checkpoint that finds no space for one fails, the log is kept from there on, and each attempt makes more of it:
/// in the end the server has no space for its log.
///
/// The newest file has the space of all its pages, though not their length, and the next one is there, empty, with the same.
/// Source: PostgreSQL 15, `slru.c`: pages of 8 KiB, 32 a file, named by their number with four hexadecimal digits.
struct TransactionSpace: Sendable {
    private static let fileBytes: off_t = 32 * 8192
    /// The folders, and the highest number of a file in each; after it they begin again at 0, and none is made then. Of
    /// offsets no next file is made: some minor versions look into it before they write it.
    private static let folders: [(name: String, last: UInt32)] = [
        ("pg_xact", 0xfff), ("pg_subtrans", 0xffff), ("pg_multixact/offsets", 0),
        ("pg_multixact/members", 0x14078),
    ]

    /// The server's data folder.
    let data: String
    let user: uid_t
    let group: gid_t

    /// Takes the space where it is not taken; what fails is tried again the next time.
    func keep() {
        for (name, last) in Self.folders {
            guard let folder = ServerFolder("\(data)/\(name)", user: user, group: group) else {
                continue
            }
            folder.removeDrafts()
            let numbers = folder.names.filter { (4...5).contains($0.utf8.count) }
                .compactMap { UInt32($0, radix: 16) }.sorted(by: >)
            for number in numbers {
                let found = folder.with(Self.name(number), O_RDWR) { file -> Bool? in
                    var facts = stat()
                    guard fstat(file, &facts) == 0, facts.st_size > 0 else { return nil }
                    return off_t(facts.st_blocks) * 512 >= Self.fileBytes
                        || petrel_take_space(file, Self.fileBytes) == 0
                }
                guard case .some(.some(let hasSpace)) = found else { continue }
                let next = Self.name(number + 1)
                if hasSpace, number < last, !folder.has(next) {
                    _ = folder.make(next) { petrel_take_space($0, Self.fileBytes) == 0 }
                }
                break
            }
        }
    }

    private static func name(_ number: UInt32) -> String {
        let digits = String(number, radix: 16, uppercase: true)
        return String(repeating: "0", count: max(0, 4 - digits.count)) + digits
    }
}
