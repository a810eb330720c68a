package import Model
package import World

/// What of a log file becomes stream labels, and how patient its reader is.
package struct FileTailConfiguration: Hashable, Sendable {
    /// Where reading a file begins that exists when it is first seen; a file that appears later is read from its start.
    package enum Start: Hashable, Sendable {
        case head
        case tail
    }

    package var path: String
    /// Empty: the label is left out.
    package var serviceName: String
    package var start: Start
    /// After how many nanoseconds without growth a line without end counts as ended.
    package var partialLineNanoseconds: Int64
    /// How long a renamed file is read on, as its writer may not have opened the new one yet. Nanoseconds.
    package var rotationGraceNanoseconds: Int64

    package init(
        path: String, serviceName: String = "", start: Start = .head,
        partialLineNanoseconds: Int64 = 5_000_000_000,
        rotationGraceNanoseconds: Int64 = 2_000_000_000
    ) {
        self.path = path
        self.serviceName = serviceName
        self.start = start
        self.partialLineNanoseconds = partialLineNanoseconds
        self.rotationGraceNanoseconds = rotationGraceNanoseconds
    }
}

/// The reading of one log file by name: a state machine over a file tree, with the time as an argument.
///
/// It follows the name through rotation by rename (the old file to its end, then those rotated since, then the new one)
/// and by copy and truncation (the rest from the copy, then the file from its start). A line is its bytes up to `\n`;
/// a `\r` before it is kept, as the line's bytes are the writer's. Lines past `LogEntry.lineBytesMax` are cut and marked.
package struct FileTail: Sendable {
    private struct Current: Sendable {
        var file: any WorldFile
        var path: String
        var position: FilePosition
        /// Bytes after `position.offset` that were read: those kept in `FileTail.partial` and those cut.
        var readAhead: Int64 = 0
        /// The name belongs to another file since this time.
        var rotatedSince: TimestampNS?
        /// A copy of a truncated file, or one that rotation left behind: nobody writes to it.
        var isFinished = false
    }

    private let configuration: FileTailConfiguration
    private let labels: Labels
    private var resume: FilePosition?
    private var hasLooked = false
    private var current: Current?
    /// Rotated files to read after the current one, oldest first.
    private var backlog: [String] = []
    /// The beginning of a line whose end is not written yet; at most `LogEntry.lineBytesMax` bytes.
    private var partial: [UInt8] = []
    private var partialSince = TimestampNS(0)
    private var lastTimestamp = TimestampNS(.min)

    /// Nil `position` begins at the configuration's start.
    package init(_ configuration: FileTailConfiguration, position: FilePosition? = nil) {
        self.configuration = configuration
        resume = position
        labels = Labels([
            "source": "file", "filename": configuration.path,
            "service_name": configuration.serviceName,
        ])
    }

    /// Where reading goes on after the entries that were returned; nil before a file was found.
    package var position: FilePosition? { current?.position ?? resume }

    /// Up to `max` entries that are there now, and losses found on the way. Throws where a file can't be read.
    package mutating func poll(
        _ tree: any WorldFileTree, now: TimestampNS, max: Int
    ) throws(FileError) -> (items: [LogReadChunk.Item], gaps: [GapRecord]) {
        var items: [LogReadChunk.Item] = []
        var gaps: [GapRecord] = []
        do throws(FileError) {
            try fill(&items, &gaps, tree, now, max)
        } catch {
            // What was read is handed over first; the fault is still there at the next call.
            if items.isEmpty, gaps.isEmpty { throw error }
        }
        return (items, gaps)
    }

    private mutating func fill(
        _ items: inout [LogReadChunk.Item], _ gaps: inout [GapRecord], _ tree: any WorldFileTree,
        _ now: TimestampNS, _ max: Int
    ) throws(FileError) {
        var bytes = 0
        // Before reading: past the old offset an emptied and regrown file holds the middle of other lines.
        if let current, !current.isFinished, try wasTruncated(current) {
            try restart(tree, current, now, &items, &gaps)
        }
        while items.count < max, bytes < LogLimits.chunkBytesMax {
            if current == nil {
                guard try open(tree, &gaps) else { break }
            }
            let before = items.count
            let isAtEnd = try readLines(&items, max, &bytes, now)
            if items.count > before, !isAtEnd { continue }
            guard isAtEnd, try !moveOn(tree, now, &items, &gaps) else { continue }
            break
        }
    }

    // MARK: reading

    /// Reads on in the current file. True where its end was reached with nothing more to read.
    private mutating func readLines(
        _ items: inout [LogReadChunk.Item], _ max: Int, _ bytes: inout Int, _ now: TimestampNS
    ) throws(FileError) -> Bool {
        guard var current else { return true }
        defer { self.current = current }
        while items.count < max, bytes < LogLimits.chunkBytesMax {
            let start = current.position.offset + current.readAhead
            let chunk = try current.file.read(at: start, count: Self.readBytes)
            guard !chunk.isEmpty else { return true }
            try extendSignature(&current)
            partialSince = now
            var index = 0
            while index < chunk.count, items.count < max {
                let end = chunk[index...].firstIndex(of: 10) ?? chunk.count
                let room = LogEntry.lineBytesMax - partial.count
                partial += chunk[index..<min(end, index + room)]
                current.readAhead += Int64(end - index)
                guard end < chunk.count else { break }
                bytes += partial.count
                items.append(takeLine(length: current.readAhead, now, isPartial: false))
                current.position.offset += current.readAhead + 1
                current.readAhead = 0
                index = end + 1
            }
        }
        return false
    }

    /// The line in `partial` as an entry. Timestamps of entries ascend strictly.
    private mutating func takeLine(
        length: Int64, _ now: TimestampNS, isPartial: Bool
    ) -> LogReadChunk.Item {
        let line = partial
        partial = []
        lastTimestamp = max(now, lastTimestamp.advanced(byNanoseconds: 1))
        let extracted = FieldExtractor.extract(line)
        var metadata = Labels(sortedUnchecked: extracted.fields)
        if length > Int64(line.count) { metadata = metadata.setting("petrel_cut", "\(length)") }
        if isPartial { metadata = metadata.setting("petrel_partial", "true") }
        return LogReadChunk.Item(
            stream: labels,
            entry: LogEntry(
                timestamp: lastTimestamp, line: line, level: extracted.level, metadata: metadata))
    }

    /// A file that was short when it was opened gets its full signature as it grows.
    private func extendSignature(_ current: inout Current) throws(FileError) {
        guard current.position.signature.length < FileSignature.bytesMax else { return }
        let head = try current.file.read(at: 0, count: FileSignature.bytesMax)
        if head.count > current.position.signature.length {
            current.position.signature = FileSignature(head: head)
        }
    }

    /// Ends a line that its writer left without `\n`.
    private mutating func flushPartial(_ items: inout [LogReadChunk.Item], _ now: TimestampNS) {
        guard var current, current.readAhead > 0 else { return }
        items.append(takeLine(length: current.readAhead, now, isPartial: true))
        current.position.offset += current.readAhead
        current.readAhead = 0
        self.current = current
    }

    // MARK: following the name

    /// At the end of the current file: true where reading goes on at once, in another file or from the start.
    private mutating func moveOn(
        _ tree: any WorldFileTree, _ now: TimestampNS, _ items: inout [LogReadChunk.Item],
        _ gaps: inout [GapRecord]
    ) throws(FileError) -> Bool {
        guard let current else { return false }
        if current.isFinished {
            leave(&items, now)
            return true
        }
        if try wasTruncated(current) {
            try restart(tree, current, now, &items, &gaps)
            return true
        }
        let isSame: Bool
        do throws(FileError) {
            isSame = try tree.status(configuration.path).identity == current.position.identity
        } catch {
            // The name is gone for a moment during rotation: the file that was it is read on.
            guard error.errno == Self.noEntry else { throw error }
            return flushWhenOld(&items, now)
        }
        guard !isSame else {
            self.current?.rotatedSince = nil
            return flushWhenOld(&items, now)
        }
        guard let since = current.rotatedSince else {
            self.current?.rotatedSince = now
            return configuration.rotationGraceNanoseconds <= 0
        }
        let age = now.rawValue - since.rawValue
        guard age >= configuration.rotationGraceNanoseconds || age < 0 else { return false }
        backlog = rotatedAfter(current.position.identity, tree)
        leave(&items, now)
        return true
    }

    private mutating func flushWhenOld(
        _ items: inout [LogReadChunk.Item], _ now: TimestampNS
    ) -> Bool {
        let age = now.rawValue - partialSince.rawValue
        guard age >= configuration.partialLineNanoseconds || age < 0 else { return false }
        flushPartial(&items, now)
        return false
    }

    private mutating func leave(_ items: inout [LogReadChunk.Item], _ now: TimestampNS) {
        flushPartial(&items, now)
        current?.file.close()
        current = nil
        resume = nil
    }

    /// Whether the file is shorter than what was read of it, or begins with something else.
    private func wasTruncated(_ current: Current) throws(FileError) -> Bool {
        let size = try current.file.status().size
        if size < current.position.offset + current.readAhead { return true }
        return try !current.position.signature.matches(current.file)
    }

    /// The file was emptied: what was not read yet may stand in a copy; then the file is read from its start.
    private mutating func restart(
        _ tree: any WorldFileTree, _ current: Current, _ now: TimestampNS,
        _ items: inout [LogReadChunk.Item], _ gaps: inout [GapRecord]
    ) throws(FileError) {
        if let copy = copy(of: current.position, tree) {
            current.file.close()
            partial = []
            self.current = copy
            return
        }
        flushPartial(&items, now)
        gaps.append(lost("was truncated; what was written after the last read may be lost"))
        let identity = current.position.identity
        self.current?.position = FilePosition(
            identity: identity, offset: 0, signature: FileSignature(head: []))
        self.current?.readAhead = 0
    }

    /// The file that `position` was in, under another name and with everything that was read of it.
    private func copy(of position: FilePosition, _ tree: any WorldFileTree) -> Current? {
        guard position.signature.length > 0 else { return nil }
        for path in RotatedSiblings(tree: tree, path: configuration.path).oldestFirst().reversed() {
            guard let file = try? tree.open(path, .read) else { continue }
            if let status = try? file.status(), status.identity != position.identity,
                status.size >= position.offset, (try? position.signature.matches(file)) == true
            {
                var own = position
                own.identity = status.identity
                return Current(file: file, path: path, position: own, isFinished: true)
            }
            file.close()
        }
        return nil
    }

    /// The rotated files that are newer than the one with `identity`; none where that one has no name any more.
    private func rotatedAfter(_ identity: FileIdentity, _ tree: any WorldFileTree) -> [String] {
        let siblings = RotatedSiblings(tree: tree, path: configuration.path).oldestFirst()
        guard
            let index = siblings.firstIndex(where: {
                (try? tree.status($0))?.identity == identity
            })
        else { return [] }
        return Array(siblings[(index + 1)...])
    }

    // MARK: opening

    /// Opens what is to be read next: the file of the stored position, then rotated ones, then the name. False where
    /// there is nothing to open now.
    private mutating func open(
        _ tree: any WorldFileTree, _ gaps: inout [GapRecord]
    ) throws(FileError) -> Bool {
        if let resume {
            if try reopen(resume, tree) { return true }
            gaps.append(lost("was replaced while it was not read; its rest is gone"))
            self.resume = nil
            hasLooked = true
        }
        while !backlog.isEmpty {
            let path = backlog.removeFirst()
            if let file = try? tree.open(path, .read), let status = try? file.status() {
                begin(file, path, status, offset: 0, isFinished: true)
                return true
            }
        }
        defer { hasLooked = true }
        let file: any WorldFile
        do throws(FileError) {
            file = try tree.open(configuration.path, .read)
        } catch {
            guard error.errno == Self.noEntry else { throw error }
            return false
        }
        let status = try file.status()
        let isFromEnd = !hasLooked && configuration.start == .tail
        begin(
            file, configuration.path, status, offset: isFromEnd ? status.size : 0,
            isFinished: false)
        return true
    }

    private mutating func begin(
        _ file: any WorldFile, _ path: String, _ status: FileStatus, offset: Int64,
        isFinished: Bool
    ) {
        let head = (try? file.read(at: 0, count: FileSignature.bytesMax)) ?? []
        partial = []
        current = Current(
            file: file, path: path,
            position: FilePosition(
                identity: status.identity, offset: offset, signature: FileSignature(head: head)),
            isFinished: isFinished)
    }

    /// Finds the file of a stored position under its name, under a rotated one, or as a copy. False where it is gone.
    private mutating func reopen(
        _ position: FilePosition, _ tree: any WorldFileTree
    ) throws(FileError) -> Bool {
        let siblings = RotatedSiblings(tree: tree, path: configuration.path).oldestFirst()
        for path in [configuration.path] + siblings {
            guard let file = try? tree.open(path, .read) else { continue }
            if let status = try? file.status(), status.identity == position.identity,
                status.size >= position.offset, (try? position.signature.matches(file)) == true
            {
                current = Current(file: file, path: path, position: position)
                return true
            }
            file.close()
        }
        guard let copy = copy(of: position, tree) else { return false }
        backlog = siblings.firstIndex(of: copy.path).map { Array(siblings[($0 + 1)...]) } ?? []
        current = copy
        return true
    }

    private func lost(_ detail: String) -> GapRecord {
        GapRecord(
            reason: .fileLost, count: 0, source: "file:\(configuration.path)",
            detail: "\(configuration.path) \(detail)")
    }

    private static let readBytes = 64 * 1024
    private static let noEntry: Int32 = 2
}
