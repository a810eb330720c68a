package import Model
package import World

/// Which files are followed, and how.
package struct FileSetConfiguration: Sendable {
    /// The path of one file, or a pattern for several.
    package var pattern: PathPattern
    /// Paths, or names where a pattern has no `/`, that are left out.
    package var exclude: [PathPattern]
    /// Nil: a file's name up to its first dot. Empty: the label is left out.
    package var serviceName: String?
    /// How each file is read; the path and service name in it are not used.
    package var tail: FileTailConfiguration
    /// How often folders are looked through for new files. Nanoseconds.
    package var lookNanoseconds: Int64
    /// For how long the position of a file that is gone is kept. Nanoseconds.
    package var forgetNanoseconds: Int64

    package init(
        path: String, exclude: [String] = [], serviceName: String? = nil,
        tail: FileTailConfiguration = FileTailConfiguration(path: ""),
        lookNanoseconds: Int64 = 5_000_000_000, forgetNanoseconds: Int64 = 86_400_000_000_000
    ) {
        pattern = PathPattern(path)
        self.exclude = exclude.map { PathPattern($0) }
        self.serviceName = serviceName
        self.tail = tail
        self.lookNanoseconds = lookNanoseconds
        self.forgetNanoseconds = forgetNanoseconds
    }

    /// Paths of the files that are there now, sorted, at most `FileSet.namesMax`: without those that rotation left or
    /// compressed, and what is excluded. The path itself, there or not, where it is no pattern.
    package func paths(in tree: any WorldFileTree) -> [String] {
        guard pattern.hasWildcards else { return [pattern.text] }
        let all = pattern.paths(in: tree, max: FileSet.namesMax)
        let names = Set(all)
        return all.filter { path in
            !RotatedFiles.isCompressed(path) && !isExcluded(path)
                && !FileSet.isRotated(path, among: names)
        }
    }

    func isExcluded(_ path: String) -> Bool { exclude.contains { $0.matches(path) } }

    /// The configuration of the file at `path`.
    func tail(_ path: String) -> FileTailConfiguration {
        var configuration = tail
        configuration.path = path
        configuration.serviceName =
            serviceName ?? String(RotatedFiles.name(of: path).prefix { $0 != "." })
        return configuration
    }
}

/// The reading of all files of a pattern: a state machine over a file tree, with the time as an argument.
///
/// Files are read in turn, a chunk each, so that one that grows fast holds up no other; those that do not grow are
/// looked at a few times a second, most with one `stat`. Names that rotation gives to a followed file are that file's,
/// not files of their own. A followed file that is renamed to another name of the pattern is read on under that name,
/// from where it was read to; of several names of one file (links) the first is followed.
///
/// Each file's position is kept in a *slot* of the set, `file:<pattern>#<slot>`, whose bytes name the file: so the
/// number of positions in the spool is bounded however many files come and go. A single file has `file:<path>`.
package struct FileSet: Sendable {
    /// At most this many files of one pattern are followed; `LogFileBudget.positionBytesMax` may allow for fewer.
    package static let filesMax = 256
    /// At most this many names of a pattern are looked at.
    static let namesMax = 8192
    /// Ends of files that were left, for names that come up later.
    private static let leftMax = 256
    private static let problemsMax = 16
    private static let noEntry: Int32 = 2
    /// From this many new files at a look on the newest come first.
    private static let crowdMin = 64
    /// How often a file that does not grow is looked at, and one that has not grown for long.
    private static let idleNanoseconds: Int64 = 250_000_000
    private static let restingNanoseconds: Int64 = 1_000_000_000
    /// Looks in vain after which a file counts as resting.
    private static let idleLooksMax = 40

    private struct Followed: Sendable {
        var tail: FileTail
        let slot: Int
        let positionBytes: Int
        var dueAt = TimestampNS(.min)
        var idleLooks = 0
        var activeAt = TimestampNS(0)
        var missingSince: TimestampNS?
        /// The file that had the name when it was found.
        var found: FileIdentity?
        var path: String { tail.configuration.path }
    }

    let configuration: FileSetConfiguration
    private let budget: LogFileBudget
    private var files: [Followed] = []
    private var turn = 0
    private var isFirstLook: Bool
    private var lookAt: TimestampNS?
    private var lastLook = TimestampNS(0)
    private var freeSlots: [Int]
    private var left: [FileIdentity: FilePosition] = [:]
    private var leftOrder: [FileIdentity] = []
    /// Positions that changed without an entry: of files that were forgotten or go on under another name.
    private var moved: [SourcePosition] = []
    private var filesLeftOut = 0
    private var faults: [String: String] = [:]

    /// `positions` are those that this set returned before. Throws `position` where one can't be understood.
    package init(
        _ configuration: FileSetConfiguration, positions: [SourcePosition] = [],
        budget: LogFileBudget = LogFileBudget()
    ) throws(ReadError) {
        self.configuration = configuration
        self.budget = budget
        freeSlots = Array((0..<Self.filesMax).reversed())
        isFirstLook = true
        let own = positions.filter {
            !$0.bytes.isEmpty && Self.slot(of: $0.source, configuration.pattern) != nil
        }
        isFirstLook = own.isEmpty
        for position in own {
            guard let decoded = FilePosition(bytes: position.bytes) else {
                throw .position(
                    source: position.source, detail: "\(position.bytes.count) bytes of no version")
            }
            let named = FilePosition.path(in: position.bytes)
            let path = configuration.pattern.hasWildcards ? named : configuration.pattern.text
            guard configuration.pattern.matches(path) || path == configuration.pattern.text,
                !configuration.isExcluded(path), !files.contains(where: { $0.path == path }),
                let slot = Self.slot(of: position.source, configuration.pattern)
            else { continue }
            follow(path, position: decoded, slot: slot)
            // At least until then the files of the pattern were looked for.
            lastLook = max(lastLook, decoded.modified)
        }
        adopt(positions)
        if !configuration.pattern.hasWildcards, files.isEmpty {
            follow(configuration.pattern.text, position: nil, slot: 0)
        }
    }

    /// Takes over positions of files that another entry of the configuration followed: one that named a file became a
    /// pattern, or the other way round.
    private mutating func adopt(_ positions: [SourcePosition]) {
        for position in positions
        where Self.slot(of: position.source, configuration.pattern) == nil {
            let named = FilePosition.path(in: position.bytes)
            let prefix = Self.source(path: "")
            guard position.source.hasPrefix(prefix), let slot = freeSlots.last,
                let decoded = FilePosition(bytes: position.bytes)
            else { continue }
            let path = named.isEmpty ? String(position.source.dropFirst(prefix.count)) : named
            let isOurs =
                configuration.pattern.hasWildcards
                ? configuration.pattern.matches(path) && named.isEmpty
                : path == configuration.pattern.text
            guard isOurs, !configuration.isExcluded(path),
                !files.contains(where: { $0.path == path }),
                follow(path, position: decoded, slot: slot)
            else { continue }
            isFirstLook = false
            moved.append(self.position(files.count - 1))
        }
    }

    /// What could not be read at the last look, and files that are left out; a sentence each, bounded.
    package var problems: [String] {
        var problems = faults.sorted { $0.key < $1.key }.map(\.value)
        if filesLeftOut > 0 {
            problems.append(
                "\(configuration.pattern.text): \(filesLeftOut) files are not read, as \(files.count) are "
                    + "followed already; narrow `path` or `exclude` some")
        }
        return problems
    }

    /// The files that are followed, in the order in which they were found.
    package var paths: [String] { files.map(\.path) }

    /// Up to `max` entries of the file whose turn it is, with its position; or a position alone that moved. Nil where
    /// nothing came. Throws where the set is a single file that can't be read now.
    package mutating func poll(
        _ tree: any WorldFileTree, now: TimestampNS, max: Int
    ) throws(FileError) -> LogReadChunk? {
        lookIfDue(tree, now)
        if !moved.isEmpty { return LogReadChunk(items: [], position: moved.removeFirst()) }
        for _ in 0..<files.count {
            turn = turn + 1 < files.count ? turn + 1 : 0
            guard isDue(files[turn], now) else { continue }
            if files[turn].tail.hasNothingNew(tree, now: now) {
                rest(turn, now)
                continue
            }
            guard makeRoom(for: turn) else { continue }
            if let chunk = try read(turn, tree, now, max) { return chunk }
        }
        return nil
    }

    // MARK: reading

    private func isDue(_ file: Followed, _ now: TimestampNS) -> Bool {
        // A clock that was set back must not hold a file up.
        file.dueAt <= now || file.dueAt.rawValue &- now.rawValue > Self.restingNanoseconds
    }

    /// Nothing came of a file: its next look is later.
    private mutating func rest(_ index: Int, _ now: TimestampNS) {
        files[index].idleLooks = min(files[index].idleLooks + 1, Self.idleLooksMax)
        files[index].dueAt = now.advanced(
            byNanoseconds: files[index].idleLooks < Self.idleLooksMax
                ? Self.idleNanoseconds : Self.restingNanoseconds)
    }

    private mutating func read(
        _ index: Int, _ tree: any WorldFileTree, _ now: TimestampNS, _ max: Int
    ) throws(FileError) -> LogReadChunk? {
        let path = files[index].path
        let items: [LogReadChunk.Item]
        let gaps: [GapRecord]
        // Room was made for one file; it may not have needed it.
        defer { if !files[index].tail.isOpen { budget.closed() } }
        do throws(FileError) {
            (items, gaps) = try files[index].tail.poll(tree, now: now, max: max)
        } catch {
            rest(index, now)
            guard configuration.pattern.hasWildcards else { throw error }
            if faults.count < Self.problemsMax || faults[path] != nil {
                faults[path] = "\(ReadError.file(error))"
            }
            return nil
        }
        faults[path] = nil
        note(left: files[index].tail.takeLeft())
        guard !items.isEmpty || !gaps.isEmpty else {
            if !files[index].tail.hasMore { rest(index, now) }
            return nil
        }
        files[index].idleLooks = 0
        files[index].dueAt = now
        files[index].activeAt = now
        return LogReadChunk(items: items, gaps: gaps, position: position(index))
    }

    /// Makes sure that the file may be open, at the expense of the one that was idle for longest.
    private mutating func makeRoom(for index: Int) -> Bool {
        if files[index].tail.isOpen || budget.open(isForced: false) { return true }
        let open = files.indices.filter { files[$0].tail.isOpen }
        guard let idle = open.min(by: { files[$0].activeAt < files[$1].activeAt }) else {
            return budget.open(isForced: true)
        }
        files[idle].tail.suspend()
        budget.closed()
        return budget.open(isForced: false) || budget.open(isForced: open.count == 1)
    }

    /// Closes all files: reading goes on from their positions.
    package mutating func close() {
        for index in files.indices where files[index].tail.isOpen {
            files[index].tail.suspend()
            budget.closed()
        }
    }

    private mutating func note(left positions: [FilePosition]) {
        for position in positions {
            if left.updateValue(position, forKey: position.identity) == nil {
                leftOrder.append(position.identity)
            }
        }
        while leftOrder.count > Self.leftMax { left[leftOrder.removeFirst()] = nil }
    }

    // MARK: looking for files

    private mutating func lookIfDue(_ tree: any WorldFileTree, _ now: TimestampNS) {
        guard configuration.pattern.hasWildcards else { return }
        if let lookAt, lookAt > now,
            lookAt.rawValue &- now.rawValue <= configuration.lookNanoseconds
        {
            return
        }
        let hasLooked = lookAt != nil
        lookAt = now.advanced(byNanoseconds: configuration.lookNanoseconds)
        if hasLooked, let folder = configuration.pattern.singleFolder, filesLeftOut == 0,
            files.allSatisfy({ $0.missingSince == nil }), !hasWaiting,
            let modified = try? tree.status(folder).modified, modified.rawValue != 0,
            lastLook.rawValue &- modified.rawValue > Self.settledNanoseconds
        {
            return
        }
        look(tree, now)
        lastLook = now
        isFirstLook = false
    }

    /// A name was passed over because a followed file still had it at the last look.
    private var hasWaiting = false
    /// From this age on a folder's time says whether it changed.
    private static let settledNanoseconds: Int64 = 2_000_000_000

    private mutating func look(_ tree: any WorldFileTree, _ now: TimestampNS) {
        let paths = configuration.paths(in: tree)
        noteFolder(tree, isEmpty: paths.isEmpty)
        forgetMissing(Set(paths), now)
        let known = Set(files.map(\.path))
        filesLeftOut = 0
        hasWaiting = false
        var found: [(path: String, status: FileStatus)] = []
        for path in paths where !known.contains(path) {
            guard !freeSlots.isEmpty else {
                filesLeftOut += 1
                continue
            }
            guard !Self.isRotated(path, among: known), let status = try? tree.status(path),
                !status.isDirectory
            else { continue }
            found.append((path, status))
        }
        // Where there may not be room for all, those come first that were written last.
        if found.count > Self.crowdMin { found.sort { $0.status.modified > $1.status.modified } }
        for (path, status) in found {
            switch origin(of: path, status, tree) {
            case .known: hasWaiting = true
            case .moved(let position): add(path, status, position)
            case .new: add(path, status, nil)
            }
        }
    }

    /// A folder that can't be listed looks like an empty one.
    private mutating func noteFolder(_ tree: any WorldFileTree, isEmpty: Bool) {
        guard let folder = configuration.pattern.singleFolder else { return }
        faults[folder] = nil
        guard isEmpty else { return }
        do throws(FileError) {
            _ = try tree.list(folder)
        } catch {
            if error.errno != Self.noEntry { faults[folder] = "\(ReadError.file(error))" }
        }
    }

    private enum Origin {
        case new
        /// The file was read to here under another name.
        case moved(FilePosition)
        /// It is read under another name.
        case known
    }

    private mutating func origin(
        of path: String, _ status: FileStatus, _ tree: any WorldFileTree
    ) -> Origin {
        let owner = files.firstIndex { ($0.tail.identity ?? $0.found) == status.identity }
        if let index = owner {
            if (try? tree.status(files[index].path))?.identity == status.identity { return .known }
            if let position = files[index].tail.position, isFile(path, position, tree) {
                guard let position = files[index].tail.surrender() else { return .known }
                moved.append(SourcePosition(source: source(files[index].slot), bytes: []))
                return .moved(position)
            }
        }
        if let position = left[status.identity], isFile(path, position, tree) {
            left[status.identity] = nil
            leftOrder.removeAll { $0 == status.identity }
            return .moved(position)
        }
        return .new
    }

    /// Whether the file at `path` begins as that of `position`: an inode alone can be reused.
    private func isFile(
        _ path: String, _ position: FilePosition, _ tree: any WorldFileTree
    ) -> Bool {
        guard !position.isBlank else { return true }
        guard let status = try? tree.status(path), status.size >= position.offset, status.size > 0,
            let file = try? tree.open(path, .read)
        else { return false }
        defer { file.close() }
        return (try? position.signature.matches(file)) == true
    }

    private mutating func add(_ path: String, _ status: FileStatus, _ position: FilePosition?) {
        guard let slot = freeSlots.last, follow(path, position: position, slot: slot) else {
            filesLeftOut += 1
            return
        }
        files[files.count - 1].found = status.identity
        if position != nil { moved.append(self.position(files.count - 1)) }
    }

    @discardableResult
    private mutating func follow(_ path: String, position: FilePosition?, slot: Int) -> Bool {
        let name = configuration.pattern.hasWildcards ? path : ""
        let bytes = source(slot).utf8.count + FilePosition.byteCount + name.utf8.count + 6
        guard budget.take(positionBytes: bytes) else { return false }
        freeSlots.removeAll { $0 == slot }
        files.append(
            Followed(
                tail: FileTail(
                    configuration.tail(path), position: position,
                    appearedSince: isFirstLook ? nil : lastLook),
                slot: slot, positionBytes: bytes))
        return true
    }

    /// Positions of files that have been gone for long are forgotten.
    private mutating func forgetMissing(
        _ present: Set<String>, _ now: TimestampNS
    ) {
        for index in files.indices.reversed() {
            guard !present.contains(files[index].path) else {
                files[index].missingSince = nil
                continue
            }
            let since = files[index].missingSince ?? now
            files[index].missingSince = min(since, now)
            guard now.rawValue &- since.rawValue >= configuration.forgetNanoseconds,
                !files[index].tail.isOpen
            else { continue }
            let gone = files.remove(at: index)
            budget.give(positionBytes: gone.positionBytes)
            freeSlots.append(gone.slot)
            faults[gone.path] = nil
            moved.append(SourcePosition(source: source(gone.slot), bytes: []))
        }
        if turn >= files.count { turn = 0 }
    }

    /// Whether the name is one that rotation gives to another of `names`.
    static func isRotated(_ path: String, among names: Set<String>) -> Bool {
        let folder = RotatedFiles.folder(of: path)
        let name = RotatedFiles.name(of: path)
        // The stem ends before a dot or a dash.
        for (index, character) in zip(name.indices, name) where character == "." || character == "-"
        {
            let stem = String(name[..<index])
            if !stem.isEmpty, RotatedFiles.rotation(name, of: stem) != nil,
                names.contains(RotatedFiles.join(folder, stem))
            {
                return true
            }
        }
        return false
    }

    // MARK: positions

    private func position(_ index: Int) -> SourcePosition {
        let file = files[index]
        let name = configuration.pattern.hasWildcards ? file.path : ""
        return SourcePosition(
            source: source(file.slot), bytes: file.tail.position?.bytes(path: name) ?? [])
    }

    private func source(_ slot: Int) -> String {
        let name = Self.source(path: configuration.pattern.text)
        return configuration.pattern.hasWildcards ? "\(name)#\(slot)" : name
    }

    /// The source of a single file's position, and what those of a pattern's slots begin with.
    package static func source(path: String) -> String { "file:\(path)" }

    /// The slot of a position of the files of `pattern`; nil for those of other sources.
    package static func slot(of source: String, _ pattern: PathPattern) -> Int? {
        let name = Self.source(path: pattern.text)
        guard pattern.hasWildcards else { return source == name ? 0 : nil }
        guard source.hasPrefix(name + "#"), let slot = Int(source.dropFirst(name.count + 1)),
            (0..<filesMax).contains(slot)
        else { return nil }
        return slot
    }
}
