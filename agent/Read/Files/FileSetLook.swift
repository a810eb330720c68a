import Model
import World

/// Looking through the names of a pattern: which files are new, have another name, or are gone.
extension FileSet {
    mutating func lookIfDue(_ tree: any WorldFileTree, _ now: TimestampNS) {
        guard configuration.pattern.hasWildcards else {
            guard files.isEmpty else { return }
            let path = configuration.pattern.text
            filesLeftOut = follow(path, position: nil, slot: 0) ? 0 : 1
            return
        }
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
            lastLook <= now,
            lastLook.rawValue &- modified.rawValue > Self.settledNanoseconds
        {
            return
        }
        look(tree, now)
    }

    /// From this age on a folder's time says whether it changed.
    private static let settledNanoseconds: Int64 = 2_000_000_000
    /// From this many new files at a look on the newest come first.
    private static let crowdMin = 64
    /// After how long without its name a file's position may make room for that of another.
    private static let goneNanoseconds: Int64 = 60_000_000_000
    private static let noEntry: Int32 = 2
    private static let notFolder: Int32 = 20

    mutating func look(_ tree: any WorldFileTree, _ now: TimestampNS) {
        defer {
            lastLook = now
            isFirstLook = false
            looks &+= 1
        }
        let found = configuration.look(in: tree)
        let paths = found.paths
        let hasFolder = noteFolders(found, tree)
        filesLeftOut = found.leftOut
        hasWaiting = false
        let there = there(paths, tree)
        followRenames(there, tree)
        forgetMissing(Set(paths), hasFolder: hasFolder, tree, now)
        let known = Set(files.map(\.path))
        var fresh: [Name] = []
        for name in there where !known.contains(name.path) {
            guard !freeSlots.isEmpty || oldestGone(now) != nil else {
                filesLeftOut += 1
                continue
            }
            if !Self.isRotated(name.path, among: known) { fresh.append(name) }
        }
        // Where there may not be room for all, those come first that were written last.
        if fresh.count > Self.crowdMin { fresh.sort { $0.status.modified > $1.status.modified } }
        for name in fresh {
            switch origin(of: name, tree) {
            case .known: hasWaiting = true
            case .left(let position): add(name, position, tree, now)
            case .new: add(name, nil, tree, now)
            }
        }
    }

    /// A name of the pattern and what it is.
    private struct Name {
        let path: String
        let status: FileStatus
    }

    private func there(_ paths: [String], _ tree: any WorldFileTree) -> [Name] {
        paths.compactMap { path in
            guard let status = try? tree.status(path), !status.isDirectory else { return nil }
            return Name(path: path, status: status)
        }
    }

    /// A folder that can't be listed looks like an empty one, and so does one whose disk is not there. False where it
    /// may be that.
    private mutating func noteFolders(
        _ found: PathPattern.Found, _ tree: any WorldFileTree
    ) -> Bool {
        for folder in refusedFolders { faults[folder] = nil }
        refusedFolders = found.refused.map(\.path)
        for error in found.refused { faults[error.path] = "\(ReadError.file(error))" }
        guard found.paths.isEmpty else { return true }
        return ((try? tree.list(configuration.pattern.baseFolder)) ?? []).isEmpty == false
    }

    private enum Origin {
        case new
        /// The file was read to here under another name, which has another file now.
        case left(FilePosition)
        /// It is read under another name.
        case known
    }

    private func origin(of name: Name, _ tree: any WorldFileTree) -> Origin {
        let identity = name.status.identity
        if let owner = files.first(where: { $0.identity == identity }) {
            guard let position = owner.tail.position else { return .known }
            if isFile(name.path, position, tree) || has(owner.path, identity, tree) {
                return .known
            }
        }
        if let position = left[identity], isFile(name.path, position, tree) {
            return .left(position)
        }
        return .new
    }

    private func has(
        _ path: String, _ identity: FileIdentity, _ tree: any WorldFileTree
    ) -> Bool {
        (try? tree.status(path))?.identity == identity
    }

    /// Follows files under the names of the pattern that they have now, all at once: rotation shifts names. A name whose
    /// own file is not read to its end waits.
    private mutating func followRenames(_ there: [Name], _ tree: any WorldFileTree) {
        guard configuration.pattern.hasWildcards else { return }
        let identities = Dictionary(
            there.map { ($0.path, $0.status.identity) }, uniquingKeysWith: { first, _ in first })
        let names = Dictionary(
            there.map { ($0.status.identity, $0.path) }, uniquingKeysWith: { first, _ in first })
        let known = Set(files.map(\.path))
        var moves: [Int: String] = [:]
        for index in files.indices { files[index].isWaiting = false }
        for (index, file) in files.enumerated() {
            guard let identity = file.identity, identities[file.path] != identity,
                let path = names[identity],
                known.contains(path)
                    || !Self.isRotated(path, among: known),
                file.tail.position.map({ isFile(path, $0, tree) }) ?? true
            else { continue }
            moves[index] = path
        }
        // What waits keeps others waiting.
        var isChanged = true
        while isChanged {
            isChanged = false
            for (index, path) in moves
            where files.indices.contains(where: {
                $0 != index && files[$0].path == path && moves[$0] == nil && files[$0].isBusy
            }) {
                moves[index] = nil
                files[index].isWaiting = true
                hasWaiting = true
                isChanged = true
            }
        }
        for (index, path) in moves.sorted(by: { $0.key < $1.key }) { rename(index, path) }
        forgetTwins()
    }

    /// Of two slots with one name one has its file; the other has none any more.
    private mutating func forgetTwins() {
        for index in files.indices.reversed() where !files[index].isBusy {
            let isTwin = files.indices.contains { other in
                other != index && files[other].path == files[index].path
                    && (files[other].isBusy || other < index)
            }
            if isTwin { forget(index) }
        }
    }

    private mutating func rename(_ index: Int, _ path: String) {
        let bytes = positionBytes(path, slot: files[index].slot)
        budget.give(positionBytes: files[index].positionBytes)
        guard budget.take(positionBytes: bytes) else {
            // There was room for the old name.
            _ = budget.take(positionBytes: files[index].positionBytes)
            filesLeftOut += 1
            return
        }
        faults[files[index].path] = nil
        files[index].positionBytes = bytes
        files[index].awayAtLook = nil
        files[index].tail.rename(configuration.tail(path))
        if files[index].tail.position != nil { moved.append(position(index)) }
        // Its old name may have a new file.
        hasWaiting = true
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

    private mutating func add(
        _ name: Name, _ position: FilePosition?, _ tree: any WorldFileTree, _ now: TimestampNS
    ) {
        while !followNext(name.path, position) {
            guard let gone = oldestGone(now), isGone(files[gone].path, tree) else {
                filesLeftOut += 1
                return
            }
            forget(gone)
        }
        files[files.count - 1].found = name.status.identity
        guard position != nil else { return }
        left[name.status.identity] = nil
        leftOrder.removeAll { $0 == name.status.identity }
        moved.append(self.position(files.count - 1))
    }

    private mutating func followNext(_ path: String, _ position: FilePosition?) -> Bool {
        guard let slot = freeSlots.last else { return false }
        return follow(path, position: position, slot: slot)
    }

    /// The file that has been gone for longest, and for a while: where there is no room its position makes some.
    private func oldestGone(_ now: TimestampNS) -> Int? {
        let gone = files.indices.filter { index in
            guard let since = files[index].missingSince, !files[index].tail.isOpen else {
                return false
            }
            return now.rawValue &- since.rawValue >= Self.goneNanoseconds
        }
        return gone.min { (files[$0].missingSince ?? now) < (files[$1].missingSince ?? now) }
    }

    /// Bytes that the position of a file takes up in the spool.
    func positionBytes(_ path: String, slot: Int) -> Int {
        let name = configuration.pattern.hasWildcards ? path : ""
        return source(slot).utf8.count + FilePosition.byteCount + name.utf8.count + 6
    }

    /// Positions of files that have been gone for long are forgotten.
    private mutating func forgetMissing(
        _ present: Set<String>, hasFolder: Bool, _ tree: any WorldFileTree, _ now: TimestampNS
    ) {
        for index in files.indices.reversed() {
            guard hasFolder, !present.contains(files[index].path) else {
                files[index].missingSince = nil
                continue
            }
            let since = files[index].missingSince ?? now
            files[index].missingSince = min(since, now)
            guard now.rawValue &- since.rawValue >= configuration.forgetNanoseconds,
                !files[index].tail.isOpen, isGone(files[index].path, tree)
            else { continue }
            forget(index)
        }
    }

    /// What was not listed may be there all the same: its folder can't be read, or has too many names.
    private func isGone(_ path: String, _ tree: any WorldFileTree) -> Bool {
        do throws(FileError) {
            _ = try tree.status(path)
            return false
        } catch {
            return error.errno == Self.noEntry || error.errno == Self.notFolder
        }
    }

    /// Whether the name is one that rotation gives to another of `names`.
    static func isRotated(_ path: String, among names: Set<String>) -> Bool {
        let folder = RotatedFiles.folder(of: path)
        let name = RotatedFiles.name(of: path)
        // The stem ends before a dot or a dash.
        for (index, character) in zip(name.indices, name) where character == "." || character == "-"
        {
            let stem = String(name[..<index])
            if !stem.isEmpty, RotatedNames.suffix(name, of: stem) != nil,
                names.contains(RotatedFiles.join(folder, stem))
            {
                return true
            }
        }
        return false
    }
}
