import World

/// The host's files as the posture readers see them, under a root of their own in tests.
struct PostureHost: Sendable {
    /// What reading a file came to.
    enum Content: Hashable, Sendable {
        case text(String)
        case absent
        case failed(String)
    }

    /// Bytes of one file; AppArmor's list and a sudoers file with thousands of entries stay far below.
    static let fileBytesMax = 1 << 20
    /// Files of one folder.
    static let namesMax = 1024

    private let tree: any WorldFileTree
    private let root: String

    /// `root` without a slash at its end; empty is the host's own.
    init(tree: any WorldFileTree, root: String) {
        self.tree = tree
        self.root = root
    }

    func content(_ path: String) -> Content {
        do throws(FileError) {
            return .text(
                String(
                    decoding: try tree.contents(root + path, bytesMax: Self.fileBytesMax),
                    as: UTF8.self))
        } catch { return Self.isAbsent(error) ? .absent : .failed(Self.reason(error)) }
    }

    /// The file's text; where there is none says why in `reading`. What is absent does not fail the reading.
    func text(_ path: String, _ reading: inout PostureReading) -> String? {
        switch content(path) {
        case .text(let text): return text
        case .absent:
            reading.note(path, "absent")
            return nil
        case .failed(let reason):
            reading.fail(path, reason)
            return nil
        }
    }

    /// Names in a folder in byte order; nil where it can't be listed, with the reason in `reading`.
    func names(_ path: String, _ reading: inout PostureReading) -> [String]? {
        do throws(FileError) {
            let names = try tree.list(root + path)
            if names.count > Self.namesMax { reading.fail(path, "too many files") }
            return Array(
                names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
                    .prefix(Self.namesMax))
        } catch {
            if Self.isAbsent(error) {
                reading.note(path, "absent")
            } else {
                reading.fail(path, Self.reason(error))
            }
            return nil
        }
    }

    /// ENOENT and ENOTDIR.
    private static func isAbsent(_ error: FileError) -> Bool {
        error.errno == 2 || error.errno == 20
    }

    private static func reason(_ error: FileError) -> String {
        switch error.errno {
        case 1, 13: "denied"
        case 21: "is a folder"
        case 27: "too large"
        default: "\(error.operation): errno \(error.errno)"
        }
    }
}

extension String {
    /// Lines without their ends; both `\n` and `\r\n` end one.
    var postureLines: [Substring] { split(omittingEmptySubsequences: false) { $0.isNewline } }
}

extension StringProtocol {
    /// Without spaces and tabs at either end.
    var trimmed: SubSequence {
        let isBlank = { (character: Character) in character == " " || character == "\t" }
        guard let last = lastIndex(where: { !isBlank($0) }) else { return prefix(0) }
        return self[...last].drop(while: isBlank)
    }

    /// Words between spaces and tabs.
    var words: [SubSequence] { split { $0 == " " || $0 == "\t" } }
}
