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
    /// The part of its name that rotation gave, without the ending of compression.
    var stem: String
    var identity = FileIdentity(device: 0, inode: 0)
    /// When its content was last changed; the epoch where a tree keeps no times.
    var modified = TimestampNS(0)
    var isEmpty = false
    /// So many names are missing between the next older file and this one.
    var missingBefore = 0
}

/// Files that are newer than a position's.
struct NewerFiles {
    /// With content, oldest first.
    var files: [RotatedFile] = []
    /// What is missing between the position's file and those; nil where nothing is, as far as names and times say.
    var missing: String?
}

/// The names of a log file: its own, those of its rotated files, and where a symbolic link leads.
struct RotatedFiles {
    let tree: any WorldFileTree
    let path: String
    /// Docker's `.1` is the newest, whatever the times of files say.
    var countsFromNewest = false
    /// Whether a path is followed for itself, and so no rotated file of this one.
    var isFollowed: @Sendable (String) -> Bool = { _ in false }
    /// How far files were read that are followed for themselves: a compressed one may be of them.
    var known: [FilePosition] = []

    /// At most this many rotated files are looked at, the newest.
    private static let rotatedMax = 256
    /// At most this many names of a folder are looked at in search of a renamed file.
    private static let namesMax = 4096
    /// At most this many numbers are tried where a folder can't be listed, up to so many in a row that are not there.
    private static let probesMax = 64
    private static let probesInVainMax = 4
    private static let denied: Int32 = 13
    private static let linksMax = 8
    private static let looksMax = 8
    /// How often a file that is not found is looked for anew, as it may just be given another name.
    private static let searchesMax = 8
    /// Up to this length files that begin alike are told apart by it.
    private static let comparedBytesMax: Int64 = 64 * 1024
    private static let copyNanoseconds: Int64 = 1_000_000_000

    /// The files that rotation left beside the file by the names that `RotatedNames` knows, oldest first, compressed or
    /// not. Where rotation compresses just now and both stand there the plain one counts. For a symbolic link to
    /// rotated files: those beside its target.
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
            let name = Self.name(of: path)
            let there = files(beside: path) { RotatedNames.rotation($0, of: name) }
            if there.contains(where: { !$0.isEmpty }) { return there }
        }
        return []
    }

    /// The files beside `path` that have a stem, oldest first, the newest `rotatedMax`. Of more names than `namesMax`
    /// those with the least and the greatest numbers count.
    private func files(
        beside path: String, _ stem: (String) -> (stem: String, form: RotatedFile.Form)?
    ) -> [RotatedFile] {
        let folder = Self.folder(of: path)
        var found: [String: RotatedFile] = [:]
        for other in names(beside: path) {
            guard let (stem, form) = stem(other) else { continue }
            let path = Self.join(folder, other)
            guard path != self.path, form != .plain || !isFollowed(path) else { continue }
            if let known = found[stem], known.form == .plain || form == .unreadable { continue }
            found[stem] = RotatedFile(path: path, form: form, stem: stem)
        }
        var candidates = Array(found.values)
        if candidates.count > Self.namesMax {
            candidates.sort { RotatedNames.precede($0.stem, $1.stem) }
            candidates =
                candidates.prefix(Self.namesMax / 2) + candidates.suffix(Self.namesMax / 2)
        }
        let there = candidates.compactMap { file -> RotatedFile? in
            guard let status = try? tree.status(file.path), !status.isDirectory else { return nil }
            var file = file
            file.identity = status.identity
            file.modified = status.modified
            file.isEmpty = status.size == 0
            return file
        }
        let sorted = RotatedNames.sort(there, countsFromNewest: countsFromNewest)
        return sorted.suffix(Self.rotatedMax)
    }

    /// The names in the folder of `path`. Where that may be passed but not listed, as those of Docker's containers:
    /// `name.1`, `name.2` and so on, as far as they are there, and the name itself.
    private func names(beside path: String) -> [String] {
        let folder = Self.folder(of: path)
        do throws(FileError) {
            return try tree.list(folder)
        } catch {
            guard error.errno == Self.denied else { return [] }
        }
        var names = [Self.name(of: path)]
        var inVain = 0
        for number in 1...Self.probesMax {
            let there = ["\(names[0]).\(number)", "\(names[0]).\(number).gz"].filter {
                (try? tree.status(Self.join(folder, $0))) != nil
            }
            inVain = there.isEmpty ? inVain + 1 : 0
            guard inVain < Self.probesInVainMax else { break }
            names += there
        }
        return names
    }

    /// The rotated files with content that are newer than that of `position`, oldest first. Where that one was given a
    /// name of another kind: those whose names differ from it in numbers alone. Where it has no name any more: those
    /// that were written after it was, and are not it in another form.
    func newer(than position: FilePosition) -> NewerFiles {
        let files = oldestFirst()
        // A symbolic link leads to the newest of the names.
        let current = (try? tree.status(path))?.identity
        if var newer = newer(than: position.identity, among: files) {
            newer.files.removeAll { $0.identity == current }
            return newer
        }
        let alike = newerAlike(position.identity)
        if !alike.isEmpty { return NewerFiles(files: alike.filter { $0.identity != current }) }
        guard position.modified.rawValue != 0 else { return NewerFiles() }
        let written = files.filter {
            $0.modified > position.modified && $0.identity != current
        }
        var newer = NewerFiles(files: written.filter { isUnread($0, after: position) })
        let isPresent = paths(of: position.identity).contains { !$0.isEmpty }
        if !position.isBlank, !isPresent, !newer.files.isEmpty, written.count == files.count,
            newer.files.count == written.count(where: { !$0.isEmpty })
        {
            newer.missing = "nothing that is as old as it is left"
        }
        return newer
    }

    /// Files whose names differ in numbers alone from one that the file with `identity` has, and that were written
    /// after it, in the order of their times.
    private func newerAlike(_ identity: FileIdentity) -> [RotatedFile] {
        for path in paths(of: identity) where path != self.path {
            let name = RotatedNames.uncompressed(Self.name(of: path)).name
            let shape = RotatedNames.shape(name)
            guard shape != name, let own = try? tree.status(path) else { continue }
            let alike = files(beside: path) { other in
                let (stem, form) = RotatedNames.uncompressed(other)
                return RotatedNames.shape(stem) == shape ? (stem, form) : nil
            }
            let written = alike.filter { $0.modified > own.modified && isUnread($0, after: nil) }
            return written.sorted { $0.modified < $1.modified }
        }
        return []
    }

    /// Those behind the file with `identity`; nil where it is not among them.
    private func newer(than identity: FileIdentity, among files: [RotatedFile]) -> NewerFiles? {
        guard let own = files.firstIndex(where: { $0.identity == identity }) else { return nil }
        let behind = files[(own + 1)...]
        var newer = NewerFiles(files: behind.filter { isUnread($0, after: nil) })
        // Up to the next file with content: empty ones are stepped over.
        let next = behind.firstIndex { !$0.isEmpty } ?? files.endIndex - 1
        var count = own < next ? files[(own + 1)...next].reduce(0) { $0 + $1.missingBefore } : 0
        if next == files.endIndex - 1, behind.allSatisfy(\.isEmpty) {
            count += RotatedNames.missingBehind(files)
        }
        if count > 0 {
            newer.missing = "\(count) between \(files[own].path) and what was read next"
        }
        return newer
    }

    /// Whether a file has content that was not read as `position`'s or as that of a file that is followed for itself.
    private func isUnread(_ file: RotatedFile, after position: FilePosition?) -> Bool {
        guard !file.isEmpty else { return false }
        if let position, isForm(file, of: position) { return false }
        guard file.form != .plain,
            isFollowed(RotatedNames.uncompressed(file.path).name)
        else { return true }
        return !known.contains { $0.identity != position?.identity && isForm(file, of: $0) }
    }

    private func isForm(_ file: RotatedFile, of position: FilePosition) -> Bool {
        guard position.signature.length > 0, let content = content(of: file) else { return false }
        defer { content.close() }
        guard (try? position.signature.matches(content)) == true else { return false }
        // Short files may begin alike: what was read to its end is as long as that.
        guard position.offset <= Self.comparedBytesMax else { return true }
        let isShorter =
            try? position.offset > 0
            && content.read(at: position.offset - 1, count: 1).isEmpty
        let isLonger =
            try? position.isFinished
            && !content.read(at: position.offset, count: 1).isEmpty
        return isShorter != true && isLonger != true
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

    /// Endings of compressed files: those are never followed by name.
    static func isCompressed(_ name: String) -> Bool {
        RotatedNames.uncompressed(name).form != .plain
    }

    /// A file with `identity` in the folders of the file and of its target, by any name.
    func paths(of identity: FileIdentity) -> [String] {
        var found: [String] = []
        var folders: Set<String> = []
        for place in places() where folders.insert(Self.folder(of: place)).inserted {
            for name in names(beside: place).prefix(Self.namesMax) {
                let path = Self.join(Self.folder(of: place), name)
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
        search { rotated in
            if let found = own(position, path) { return found }
            for file in rotated where file.form == .plain && file.identity == position.identity {
                if let found = own(position, file.path) { return found }
            }
            for path in paths(of: position.identity) where !Self.isCompressed(path) {
                if let found = own(position, path) { return found }
            }
            return copy(of: position, among: rotated)
        }
    }

    /// The copy that was made of a file that was emptied; nil where there is none.
    func copy(of position: FilePosition) -> LocatedFile? {
        search { copy(of: position, among: $0) }
    }

    /// Looks again where names shifted meanwhile.
    private func search(_ look: ([RotatedFile]) -> LocatedFile?) -> LocatedFile? {
        var rotated = oldestFirst()
        for _ in 0..<Self.searchesMax {
            if let found = look(rotated) { return found }
            let now = oldestFirst()
            guard now != rotated else { break }
            rotated = now
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
        // A copy is no older than what was read of the file; one of before may begin alike. Some file systems keep whole
        // seconds.
        let since = position.modified.rawValue &- Self.copyNanoseconds
        let rotated = rotated.filter {
            position.modified.rawValue == 0 || $0.modified.rawValue >= since
        }
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
