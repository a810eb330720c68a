import Model
import World

/// A file that rotation left beside a log file.
struct RotatedFile: Hashable, Sendable {
    enum Form: Hashable, Sendable {
        case plain
        case gzip
        /// Compressed in a way that is not read here (`.xz`, `.zst`, `.bz2`).
        case unreadable
    }

    var path: String
    var form: Form
    var identity = FileIdentity(device: 0, inode: 0)
    /// When its content was last changed; the epoch where a tree keeps no times.
    var modified = TimestampNS(0)
}

/// The names of a log file: its own, those of its rotated files, and where a symbolic link leads.
struct RotatedFiles {
    let tree: any WorldFileTree
    let path: String

    /// At most this many rotated files are looked at, the newest.
    private static let rotatedMax = 256
    /// At most this many names of a folder are looked at in search of a renamed file.
    private static let namesMax = 4096
    private static let linksMax = 8
    private static let looksMax = 8
    /// How often a file that is not found is looked for anew, as it may just be given another name.
    private static let searchesMax = 8

    /// `name.N` and `name-DATE` beside the file, oldest first, compressed or not. Where rotation compresses just now
    /// and both stand there the plain one counts. For a symbolic link to rotated files: those beside its target.
    ///
    /// A folder that is listed while names shift shows some files twice and others not at all: two looks must agree.
    func oldestFirst() -> [RotatedFile] {
        var files = look()
        for _ in 0..<Self.looksMax {
            let next = look()
            if next.map(\.path) == files.map(\.path), next.map(\.identity) == files.map(\.identity)
            {
                return next
            }
            files = next
        }
        return files
    }

    private func look() -> [RotatedFile] {
        for path in places() {
            let found = Self.rotated(path, (try? tree.list(Self.folder(of: path))) ?? [])
            let there = found.compactMap { file -> RotatedFile? in
                guard let status = try? tree.status(file.path), !status.isDirectory,
                    status.size > 0
                else { return nil }
                var file = file
                file.identity = status.identity
                file.modified = status.modified
                return file
            }
            if !there.isEmpty { return there }
        }
        return []
    }

    /// The rotated files with content that are newer than that of `position`, oldest first. Where that one has no
    /// rotated name any more: those that were written after it was, and are not it in another form.
    func newer(than position: FilePosition) -> [RotatedFile] {
        let files = oldestFirst()
        if let own = files.firstIndex(where: { $0.identity == position.identity }) {
            return Array(files[(own + 1)...])
        }
        guard position.modified.rawValue != 0 else { return [] }
        return files.filter { $0.modified > position.modified && !isForm($0, of: position) }
    }

    private func isForm(_ file: RotatedFile, of position: FilePosition) -> Bool {
        guard position.signature.length > 0, let content = content(of: file) else { return false }
        defer { content.close() }
        return (try? position.signature.matches(content)) == true
    }

    /// The content of a rotated file, opened; nil where that is gone, another, or in a form that is not read.
    func content(of file: RotatedFile) -> (any WorldFile)? {
        guard file.form != .unreadable, let raw = try? tree.open(file.path, .read) else {
            return nil
        }
        guard (try? raw.status())?.identity == file.identity else {
            raw.close()
            return nil
        }
        return file.form == .gzip ? GzipLogFile(raw, path: file.path) : raw
    }

    /// The rotated ones among `names`, the content of the folder of `path`.
    static func rotated(_ path: String, _ names: [String]) -> [RotatedFile] {
        let folder = folder(of: path)
        let name = Self.name(of: path)
        var forms: [String: (name: String, form: RotatedFile.Form)] = [:]
        for other in names {
            guard let (stem, form) = rotation(other, of: name) else { continue }
            if let known = forms[stem], known.form == .plain || form == .unreadable { continue }
            forms[stem] = (other, form)
        }
        let sorted = forms.sorted { a, b in
            let (first, second) = (a.key.dropFirst(), b.key.dropFirst())
            // .10 is older than .2; a date is older the smaller it is, and older than any number that remains.
            guard let one = Int(first), let two = Int(second), first.count < 6, second.count < 6
            else { return bytesPrecede(String(first), String(second)) }
            return one > two
        }
        return sorted.suffix(rotatedMax).map {
            RotatedFile(path: join(folder, $0.value.name), form: $0.value.form)
        }
    }

    /// Whether `other` is a name that rotation gives to a file called `name`: its suffix without that of compression.
    static func rotation(
        _ other: String, of name: String
    ) -> (stem: String, form: RotatedFile.Form)? {
        guard other.utf8.count > name.utf8.count + 1, other.hasPrefix(name) else { return nil }
        var suffix = other.dropFirst(name.count)
        var form = RotatedFile.Form.plain
        for (ending, packed) in endings where suffix.hasSuffix(ending) {
            suffix = suffix.dropLast(ending.count)
            form = packed
            break
        }
        guard let first = suffix.first, first == "." || first == "-", suffix.count > 1,
            suffix.dropFirst().allSatisfy({
                ("0"..."9").contains($0) || $0 == "-" || $0 == "." || $0 == "_" || $0 == ":"
            })
        else { return nil }
        return (String(suffix), form)
    }

    /// Endings of compressed files: those are never followed by name.
    static func isCompressed(_ name: String) -> Bool {
        endings.contains { name.hasSuffix($0.ending) }
    }

    private static let endings: [(ending: String, form: RotatedFile.Form)] = [
        (".gz", .gzip), (".xz", .unreadable), (".zst", .unreadable), (".bz2", .unreadable),
        (".lz4", .unreadable), (".Z", .unreadable),
    ]

    /// A file with `identity` in the folders of the file and of its target, by any name.
    func paths(of identity: FileIdentity) -> [String] {
        var found: [String] = []
        for folder in Set(places().map(Self.folder)).sorted(by: bytesPrecede) {
            for name in ((try? tree.list(folder)) ?? []).prefix(Self.namesMax) {
                let path = Self.join(folder, name)
                if (try? tree.status(path))?.identity == identity { found.append(path) }
            }
        }
        return found.sorted(by: bytesPrecede)
    }

    /// The path, then where it leads as a symbolic link.
    private func places() -> [String] {
        var places = [path]
        while places.count <= Self.linksMax, let last = places.last,
            let target = try? tree.readLink(last)
        {
            let next = target.hasPrefix("/") ? target : Self.join(Self.folder(of: last), target)
            guard !places.contains(next) else { break }
            places.append(next)
        }
        return places
    }

    static func folder(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    static func name(of path: String) -> String {
        path.lastIndex(of: "/").map { String(path[path.index(after: $0)...]) } ?? path
    }

    static func join(_ folder: String, _ name: String) -> String {
        folder.hasSuffix("/") ? folder + name : folder + "/" + name
    }
}

/// A file that a position is in, opened.
struct LocatedFile: Sendable {
    enum Kind: Hashable, Sendable {
        /// The file itself, by its name or another.
        case own
        /// A copy that rotation made of it, plain or compressed: nobody writes to it.
        case copy(isCompressed: Bool)
    }

    var file: any WorldFile
    var path: String
    var kind: Kind
    var position: FilePosition
}

extension RotatedFiles {
    /// Finds the file of `position`: under its name, under a rotated one, under any name of the folder; then a copy of
    /// it; then its compressed form. Nil where it is gone.
    func locate(_ position: FilePosition) -> LocatedFile? {
        for _ in 0..<Self.searchesMax {
            if let found = own(position, path) { return found }
            let rotated = oldestFirst()
            for file in rotated where file.form == .plain && file.identity == position.identity {
                if let found = own(position, file.path) { return found }
            }
            for path in paths(of: position.identity) where !Self.isCompressed(path) {
                if let found = own(position, path) { return found }
            }
            if let found = copy(of: position, among: rotated) { return found }
        }
        return nil
    }

    /// The copy that was made of a file that was emptied; nil where there is none.
    func copy(of position: FilePosition) -> LocatedFile? {
        for _ in 0..<Self.searchesMax {
            if let found = copy(of: position, among: oldestFirst()) { return found }
        }
        return nil
    }

    private func own(_ position: FilePosition, _ path: String) -> LocatedFile? {
        // Looked at before it is opened: opening a FIFO would wait for its writer.
        guard let status = try? tree.status(path), status.identity == position.identity,
            !status.isDirectory, status.size >= position.offset, status.size > 0,
            let file = try? tree.open(path, .read)
        else { return nil }
        if (try? file.status())?.identity == position.identity,
            (try? position.signature.matches(file)) == true
        {
            return LocatedFile(file: file, path: path, kind: .own, position: position)
        }
        file.close()
        return nil
    }

    /// The copy of a file that was emptied, or its compressed form, with all that was read of it. The newest that fits;
    /// its own identity and time are in the position then.
    private func copy(of position: FilePosition, among rotated: [RotatedFile]) -> LocatedFile? {
        let packed = rotated.reversed().filter { $0.form == .gzip }
        // One that is known by its own identity comes first: heads may be alike.
        var candidates = packed.filter { $0.identity == position.identity }
        if position.signature.length > 0 {
            candidates += rotated.reversed().filter {
                $0.form == .plain && $0.identity != position.identity
            }
            candidates += packed
        }
        for candidate in candidates {
            guard let content = content(of: candidate) else { continue }
            if holds(content, position) {
                var own = position
                own.identity = candidate.identity
                own.modified = candidate.modified
                return LocatedFile(
                    file: content, path: candidate.path,
                    kind: .copy(isCompressed: candidate.form == .gzip), position: own)
            }
            content.close()
        }
        return nil
    }

    /// Whether a file begins as that of `position` and is as long as what was read of it.
    private func holds(_ file: any WorldFile, _ position: FilePosition) -> Bool {
        guard (try? position.signature.matches(file)) == true else { return false }
        if let file = file as? GzipLogFile { return (try? file.holds(position.offset)) == true }
        return ((try? file.status())?.size ?? -1) >= position.offset
    }
}
