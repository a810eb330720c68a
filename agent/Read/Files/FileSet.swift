package import Model
package import World

/// The reading of all files of a pattern: a state machine over a file tree, with the time as an argument.
///
/// Files are read in turn, a chunk each, so that one that grows fast holds up no other; those that do not grow are
/// looked at a few times a second, most with one `stat`. Names that rotation gives to a followed file are that file's,
/// not files of their own. A followed file that is renamed to another name of the pattern is read on under that name,
/// from where it was read to; of several names of one file (links) the first is followed.
///
/// Each file's position is kept in a *slot* of the set, `file:<pattern>#<slot>`, whose bytes name the file: so the
/// number of positions in the spool is bounded however many files come and go. A single file has `file:<path>`. A slot
/// belongs to a file and not to a name: a rename changes the one position of that file, so that a kill at any moment
/// leaves each file with one, and names are found anew from the files' identities before anything is read.
package struct FileSet: Sendable {
    /// At most this many files of one pattern are followed; `LogFileBudget.positionBytesMax` may allow for fewer.
    package static let filesMax = 256
    /// At most this many names of a pattern are looked at.
    static let namesMax = 8192
    /// Ends of files that were left, for names that come up later.
    private static let leftMax = 256
    private static let problemsMax = 16
    private static let denied: Int32 = 13
    /// How often a file that does not grow is looked at, and one that has not grown for long.
    private static let idleNanoseconds: Int64 = 250_000_000
    private static let restingNanoseconds: Int64 = 1_000_000_000
    /// Looks in vain after which a file counts as resting.
    private static let idleLooksMax = 40

    struct Followed: Sendable {
        var tail: FileTail
        let slot: Int
        var positionBytes: Int
        var dueAt = TimestampNS(.min)
        var idleLooks = 0
        var activeAt = TimestampNS(0)
        var missingSince: TimestampNS?
        /// The file that had the name when it was found.
        var found: FileIdentity?
        /// It gets another name as soon as the file that has that is read to its end.
        var isWaiting = false
        /// Of a log of Docker's.
        var container: DockerContainer?
        /// The look that was the last when the name was seen to have another file.
        var awayAtLook: Int?
        var path: String { tail.configuration.path }
        var identity: FileIdentity? { tail.position?.identity ?? found }
        /// Its file is not read to its end, as far as is known.
        var isBusy: Bool { tail.identity != nil }
    }

    let configuration: FileSetConfiguration
    let budget: LogFileBudget
    var files: [Followed] = []
    var turn = 0
    var isFirstLook: Bool
    var lookAt: TimestampNS?
    var lastLook = TimestampNS(0)
    var looks = 0
    var freeSlots: [Int]
    var left: [FileIdentity: FilePosition] = [:]
    var leftOrder: [FileIdentity] = []
    /// Positions that changed without an entry: of files that were forgotten or have another name.
    var moved: [SourcePosition] = []
    var filesLeftOut = 0
    var faults: [String: String] = [:]
    /// A name was passed over because a followed file still had it at the last look.
    var hasWaiting = false
    var refusedFolders: [String] = []
    /// Followed files that may not be read.
    var refusedFiles: Set<String> = []
    var isRefused: Bool { !refusedFolders.isEmpty || !refusedFiles.isEmpty }

    /// `positions` are those that this set returned before, and those of no entry of the configuration any more. Throws
    /// `position` where one of its own can't be understood.
    package init(
        _ configuration: FileSetConfiguration, positions: [SourcePosition] = [],
        budget: LogFileBudget = LogFileBudget()
    ) throws(ReadError) {
        self.configuration = configuration
        self.budget = budget
        freeSlots = Array((0..<Self.filesMax).reversed())
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
            // Of two files with one name one has another by now: the first look tells.
            let isTwice = files.contains {
                $0.path == path && $0.identity == decoded.identity
            }
            guard configuration.follows(path), !isTwice,
                let slot = Self.slot(of: position.source, configuration.pattern)
            else {
                moved.append(Self.cleared(position.source))
                continue
            }
            // Where there is no room for it the next look says so.
            _ = follow(path, position: decoded, slot: slot)
            // At least until then the files of the pattern were looked for.
            lastLook = max(lastLook, decoded.modified)
        }
        adopt(positions)
    }

    /// Takes over positions of files that an earlier entry of the configuration followed: its `path` was changed.
    private mutating func adopt(_ positions: [SourcePosition]) {
        for position in positions where configuration.takes(position) {
            if let path = Self.path(of: position), !files.contains(where: { $0.path == path }),
                let decoded = FilePosition(bytes: position.bytes), let slot = freeSlots.last,
                follow(path, position: decoded, slot: slot)
            {
                isFirstLook = false
                moved.append(self.position(files.count - 1))
            }
            moved.append(Self.cleared(position.source))
        }
    }

    /// What could not be read at the last look, and files that are left out; a sentence each, bounded.
    package var problems: [String] {
        var problems = faults.sorted { $0.key < $1.key }.map(\.value)
        if isRefused, configuration.tail.decoding.isDocker {
            let remedy = DockerLogs.remedy(
                folder: configuration.pattern.baseFolder, user: "petrel-agent")
            problems.append("logs of Docker's containers are not read; try: \(remedy)")
        }
        if filesLeftOut > 0 {
            let reason =
                files.count < Self.filesMax
                ? "there is no room for their positions, or too many names match"
                : "\(files.count) are followed already"
            problems.append(
                "\(configuration.pattern.text): \(filesLeftOut) files are not read, as \(reason); narrow "
                    + "`path` or `exclude` some")
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
            // Before a file is left for the one that has its name now: it may have another name of the pattern.
            if let look = files[turn].awayAtLook, look == looks {
                self.look(tree, now)
                if !moved.isEmpty {
                    return LogReadChunk(items: [], position: moved.removeFirst())
                }
                guard turn < files.count else { return nil }
            }
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
        nameContainer(index, tree, now)
        let items: [LogReadChunk.Item]
        let gaps: [GapRecord]
        // Room was made for one file; it may not have needed it.
        defer { if !files[index].tail.isOpen { budget.closed() } }
        do throws(FileError) {
            let others = files[index].tail.mayOpen ? others(than: index) : FileTail.Others()
            (items, gaps) = try files[index].tail.poll(tree, now: now, max: max, others: others)
        } catch {
            rest(index, now)
            guard configuration.pattern.hasWildcards else { throw error }
            if faults.count < Self.problemsMax || faults[path] != nil {
                faults[path] = "\(ReadError.file(error))"
            }
            if error.errno == Self.denied { refusedFiles.insert(path) }
            return nil
        }
        faults[path] = nil
        refusedFiles.remove(path)
        note(left: files[index].tail.takeLeft())
        noteAway(index, now)
        guard !items.isEmpty || !gaps.isEmpty else {
            if !files[index].tail.hasMore { rest(index, now) }
            guard files[index].tail.hasMoved else { return nil }
            return LogReadChunk(items: [], position: position(index))
        }
        files[index].idleLooks = 0
        files[index].dueAt = now
        files[index].activeAt = now
        return LogReadChunk(items: items, gaps: gaps, position: position(index))
    }

    /// The labels of a container's log, which may be known later than it is read.
    private mutating func nameContainer(
        _ index: Int, _ tree: any WorldFileTree, _ now: TimestampNS
    ) {
        guard case .dockerJSON(let names) = configuration.tail.decoding else { return }
        var container = files[index].container ?? DockerContainer(log: files[index].path)
        files[index].tail.labels = container.labels(names, tree, now: now)
        files[index].container = container
    }

    /// A file whose name was given to another is looked for among the names before it is left.
    private mutating func noteAway(_ index: Int, _ now: TimestampNS) {
        guard configuration.pattern.hasWildcards, files[index].tail.isAway else {
            files[index].awayAtLook = nil
            return
        }
        if files[index].awayAtLook == nil { files[index].awayAtLook = looks }
    }

    /// What a file that is opened by its name must not be: one that another slot has.
    private func others(than index: Int) -> FileTail.Others {
        guard configuration.pattern.hasWildcards else { return FileTail.Others() }
        var others = FileTail.Others(left: left, keepsFile: files[index].isWaiting)
        others.known = Array(left.values)
        for (other, file) in files.enumerated() where other != index {
            if let identity = file.tail.identity { others.held.insert(identity) }
            if let position = file.tail.position { others.known.append(position) }
        }
        return others
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

    /// Closes all files and gives back the room for their positions: the set is not read any more.
    package mutating func retire() {
        close()
        for file in files { budget.give(positionBytes: file.positionBytes) }
        files = []
    }

    private mutating func note(left positions: [FilePosition]) {
        for position in positions {
            if left.updateValue(position, forKey: position.identity) == nil {
                leftOrder.append(position.identity)
            }
        }
        while leftOrder.count > Self.leftMax { left[leftOrder.removeFirst()] = nil }
    }

    // MARK: slots

    /// False where there is no room for its position.
    mutating func follow(_ path: String, position: FilePosition?, slot: Int) -> Bool {
        let bytes = positionBytes(path, slot: slot)
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

    mutating func forget(_ index: Int) {
        let gone = files.remove(at: index)
        budget.give(positionBytes: gone.positionBytes)
        freeSlots.append(gone.slot)
        faults[gone.path] = nil
        refusedFiles.remove(gone.path)
        moved.append(Self.cleared(source(gone.slot)))
        if turn >= files.count { turn = 0 }
    }

    // MARK: positions

    func position(_ index: Int) -> SourcePosition {
        let file = files[index]
        let name = configuration.pattern.hasWildcards ? file.path : ""
        return SourcePosition(
            source: source(file.slot), bytes: file.tail.position?.bytes(path: name) ?? [])
    }

    func source(_ slot: Int) -> String {
        let name = Self.source(path: configuration.pattern.text)
        return configuration.pattern.hasWildcards ? "\(name)#\(slot)" : name
    }

    /// The source of a single file's position, and what those of a pattern's slots begin with.
    package static func source(path: String) -> String { "file:\(path)" }

    static func cleared(_ source: String) -> SourcePosition {
        SourcePosition(source: source, bytes: [])
    }

    /// The file of a stored position; nil where that is no file's.
    static func path(of position: SourcePosition) -> String? {
        let prefix = source(path: "")
        guard position.source.hasPrefix(prefix) else { return nil }
        let named = FilePosition.path(in: position.bytes)
        return named.isEmpty ? String(position.source.dropFirst(prefix.count)) : named
    }

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
