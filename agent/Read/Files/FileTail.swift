package import Model
package import World

/// What of a log file becomes stream labels, and how patient its reader is.
package struct FileTailConfiguration: Sendable {
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
    /// How long a renamed file must not grow until it is left for the new one. Nanoseconds.
    package var rotationGraceNanoseconds: Int64
    /// Nil: every line is a record.
    package var multiline: MultilineConfiguration?

    package init(
        path: String, serviceName: String = "", start: Start = .head,
        partialLineNanoseconds: Int64 = 5_000_000_000,
        rotationGraceNanoseconds: Int64 = 2_000_000_000,
        multiline: MultilineConfiguration? = nil
    ) {
        self.path = path
        self.serviceName = serviceName
        self.start = start
        self.partialLineNanoseconds = partialLineNanoseconds
        self.rotationGraceNanoseconds = rotationGraceNanoseconds
        self.multiline = multiline
    }
}

/// The reading of one log file by name: a state machine over a file tree, with the time as an argument.
///
/// It follows the name through rotation by rename (the old file to its end, then those rotated since, compressed or
/// not, then the new one), by copy and truncation (the rest from the copy, then the file from its start) and through
/// symbolic links that change their target. A line is its bytes up to `\n`; a `\r` before it is kept, as the line's
/// bytes are the writer's. Lines past `LogEntry.lineBytesMax` are cut and marked `petrel_cut=<length>`; a line whose
/// end was given up waiting for is marked `petrel_partial`, what goes on with an entry before `petrel_continued`.
package struct FileTail: Sendable {
    private struct Current: Sendable {
        var file: any WorldFile
        var path: String
        var position: FilePosition
        /// The name belongs to another file, or to none, since this time.
        var awaySince: TimestampNS?
        /// A copy of a truncated file, or one that rotation left behind: nobody writes to it.
        var isFinished = false
        var isCompressed = false
    }

    let configuration: FileTailConfiguration
    private let labels: Labels
    private var resume: FilePosition?
    private var hasLooked = false
    private var current: Current?
    private var assembler: LineAssembler
    private var lastGrowth = TimestampNS(0)
    private var lastTimestamp = TimestampNS(.min)
    /// The end of the file that was left last: what was rotated after it comes next.
    private var left: FilePosition?
    /// Ends of files that were left since `takeLeft`, the newest last.
    private var leftFiles: [FilePosition] = []
    /// What the name was when everything had been read.
    private var seen: FileStatus?
    /// The file was truncated: a writer that keeps its offset leaves a hole of NULs at its start.
    private var skipsHole = false

    /// Nil `position` begins at the configuration's start. `appearedSince`: the name was not there at that time, so it
    /// is read from its start, after what was rotated since then; the epoch where that is not known.
    package init(
        _ configuration: FileTailConfiguration, position: FilePosition? = nil,
        appearedSince: TimestampNS? = nil
    ) {
        self.configuration = configuration
        resume = position
        hasLooked = appearedSince != nil
        if let appearedSince, appearedSince.rawValue != 0, position == nil {
            left = FilePosition(
                identity: FileIdentity(device: 0, inode: 0), offset: 0,
                signature: FileSignature(head: []), modified: appearedSince, isFinished: true)
        }
        assembler = LineAssembler(configuration.multiline)
        labels = Labels([
            "source": "file", "filename": configuration.path,
            "service_name": configuration.serviceName,
        ])
    }

    /// Where reading goes on after the entries that were returned; nil before a file was found.
    package var position: FilePosition? {
        current?.position ?? resume ?? (left?.isBlank == true ? nil : left)
    }

    /// The last call ended at one of its bounds: there is more to read at once.
    package private(set) var hasMore = false

    /// Whether a file is held open.
    package var isOpen: Bool { current != nil }

    /// The file that is read or will be read on.
    var identity: FileIdentity? { (current?.position ?? resume)?.identity }

    /// Up to `max` entries that are there now, and losses found on the way. Throws where a file can't be read.
    /// Reads at most `scannedBytesMax` beyond one record.
    package mutating func poll(
        _ tree: any WorldFileTree, now: TimestampNS, max: Int
    ) throws(FileError) -> (items: [LogReadChunk.Item], gaps: [GapRecord]) {
        var reading = Reading(tree: tree, now: now, max: max)
        do throws(FileError) {
            try fill(&reading)
        } catch {
            // What was read is handed over first; the fault is still there at the next call.
            if reading.items.isEmpty, reading.gaps.isEmpty { throw error }
        }
        hasMore = reading.isFull
        if reading.items.isEmpty, reading.gaps.isEmpty, !hasMore {
            seen = try? tree.status(configuration.path)
        } else {
            seen = nil
        }
        return (reading.items, reading.gaps)
    }

    /// Whether a look at the name alone says that there is nothing to do. One call of the file system.
    func hasNothingNew(_ tree: any WorldFileTree, now: TimestampNS) -> Bool {
        guard assembler.pendingBytes == 0, current?.awaySince == nil,
            current?.isFinished != true, let status = try? tree.status(configuration.path)
        else { return false }
        // A time that is young may stay the same at another change; a tree without times says nothing.
        let age = now.rawValue &- status.modified.rawValue
        guard status.modified.rawValue != 0, age > Self.settledNanoseconds else { return false }
        if let current {
            return status == seen && status.identity == current.position.identity
                && status.size == current.position.offset
        }
        guard let resume else { return false }
        return status.identity == resume.identity && status.size == resume.offset
            && status.modified == resume.modified
    }

    /// Lets go of the file, to make room for another: reading goes on from its position.
    mutating func suspend() {
        guard let current else { return }
        resume = current.position
        close()
    }

    /// The position of a file that another name has now, and that is not open: it is read on under that name.
    mutating func surrender() -> FilePosition? {
        guard current == nil, let position = resume else { return nil }
        left = position
        left?.isFinished = true
        resume = nil
        hasLooked = true
        return position
    }

    /// Ends of the files that were left since the last call.
    mutating func takeLeft() -> [FilePosition] {
        defer { leftFiles = [] }
        return leftFiles
    }

    /// What one call reads, and how much of its bounds is used up.
    private struct Reading {
        let tree: any WorldFileTree
        let now: TimestampNS
        let max: Int
        var items: [LogReadChunk.Item] = []
        var gaps: [GapRecord] = []
        var bytes = 0
        var scanned = 0

        var isFull: Bool {
            items.count >= max || bytes >= LogLimits.chunkBytesMax
                || scanned >= FileTail.scannedBytesMax
        }
    }

    private mutating func fill(_ reading: inout Reading) throws(FileError) {
        // Before reading: past the old offset an emptied and regrown file holds the middle of other lines.
        if let current, !current.isFinished, try wasTruncated() { try restart(&reading) }
        while !reading.isFull {
            if current == nil {
                guard try open(&reading) else { break }
            }
            let isAtEnd: Bool
            do throws(FileError) {
                isAtEnd = try readLines(&reading)
            } catch {
                guard current?.isCompressed == true, error.operation == GzipLogFile.operation
                else { throw error }
                abandon(&reading)
                continue
            }
            guard isAtEnd else { continue }
            guard try moveOn(&reading) else { break }
        }
    }

    // MARK: reading

    /// Reads on in the current file. True where its end was reached with nothing more to read.
    private mutating func readLines(_ reading: inout Reading) throws(FileError) -> Bool {
        guard var current else { return true }
        defer { self.current = current }
        while !reading.isFull {
            let start = current.position.offset + assembler.pendingBytes
            let chunk = try current.file.read(at: start, count: Self.readBytes)
            guard !chunk.isEmpty else { return true }
            try extendSignature(&current)
            lastGrowth = reading.now
            reading.scanned += chunk.count
            var index = skipsHole && !current.isFinished ? holeLength(chunk, &current) : 0
            while index < chunk.count, reading.items.count < reading.max {
                let end = chunk[index...].firstIndex(of: 10) ?? chunk.count
                assembler.add(chunk[index..<end])
                guard end < chunk.count else { break }
                if let record = assembler.endLine() { emit(record, &current, &reading) }
                index = end + 1
            }
        }
        return false
    }

    /// How many bytes of a hole `chunk` begins with; they are stepped over.
    private mutating func holeLength(_ chunk: [UInt8], _ current: inout Current) -> Int {
        let length = chunk.firstIndex { $0 != 0 } ?? chunk.count
        current.position.offset += Int64(length)
        if length < chunk.count { skipsHole = false }
        return length
    }

    /// Makes a record an entry. Timestamps of entries ascend strictly.
    private mutating func emit(
        _ record: LineAssembler.Record, _ current: inout Current, _ reading: inout Reading
    ) {
        lastTimestamp = max(reading.now, lastTimestamp.advanced(byNanoseconds: 1))
        let extracted = FieldExtractor.extract(record.bytes)
        var metadata = Labels(sortedUnchecked: extracted.fields)
        if record.length > Int64(record.bytes.count) {
            metadata = metadata.setting("petrel_cut", "\(record.length)")
        }
        if record.isPartial { metadata = metadata.setting("petrel_partial", "true") }
        if record.isContinuation { metadata = metadata.setting("petrel_continued", "true") }
        reading.items.append(
            LogReadChunk.Item(
                stream: labels,
                entry: LogEntry(
                    timestamp: lastTimestamp, line: record.bytes, level: extracted.level,
                    metadata: metadata)))
        reading.bytes += record.bytes.count
        current.position.offset += record.consumed
    }

    /// A file that was short when it was opened gets its full signature as it grows.
    private func extendSignature(_ current: inout Current) throws(FileError) {
        guard current.position.signature.length < FileSignature.bytesMax else { return }
        let head = try current.file.read(at: 0, count: FileSignature.bytesMax)
        if head.count > current.position.signature.length {
            current.position.signature = FileSignature(head: head)
        }
    }

    /// Ends the record whose next line did not come, and a line that its writer left without `\n`.
    private mutating func flush(_ reading: inout Reading) {
        guard var current else { return }
        if let record = assembler.endRecord() { emit(record, &current, &reading) }
        if let record = assembler.endPartialLine() { emit(record, &current, &reading) }
        self.current = current
    }

    private mutating func flushWhenOld(_ reading: inout Reading) {
        let age = reading.now.rawValue &- lastGrowth.rawValue
        if age >= configuration.partialLineNanoseconds || age < 0 { return flush(&reading) }
        guard let wait = configuration.multiline?.waitNanoseconds, age >= wait, var current,
            !assembler.hasPartialLine, let record = assembler.endRecord()
        else { return }
        emit(record, &current, &reading)
        self.current = current
    }

    // MARK: following the name

    /// At the end of the current file: true where reading goes on at once, in another file or from the start.
    private mutating func moveOn(_ reading: inout Reading) throws(FileError) -> Bool {
        guard let current else { return false }
        if current.isFinished {
            leave(&reading)
            return true
        }
        if try wasTruncated() {
            try restart(&reading)
            return true
        }
        let status: FileStatus?
        do throws(FileError) {
            status = try reading.tree.status(configuration.path)
        } catch {
            guard error.errno == Self.noEntry else { throw error }
            status = nil
        }
        if status?.identity == current.position.identity {
            self.current?.awaySince = nil
            flushWhenOld(&reading)
            return false
        }
        guard let since = current.awaySince else {
            self.current?.awaySince = reading.now
            return configuration.rotationGraceNanoseconds <= 0 && status != nil
        }
        let age = reading.now.rawValue &- since.rawValue
        let quiet = min(age, reading.now.rawValue &- lastGrowth.rawValue)
        guard quiet >= configuration.rotationGraceNanoseconds || age < 0 else {
            flushWhenOld(&reading)
            return false
        }
        // The name may be gone for a moment, and the writer may not have taken the new file yet: while that is empty
        // the old one is read on, but not for ever, as a deleted file keeps its place on the disk.
        if (status?.size ?? 0) == 0, (0..<Self.heldNanoseconds).contains(age),
            files(reading.tree).newer(than: current.position).isEmpty
        {
            flushWhenOld(&reading)
            return false
        }
        leave(&reading)
        return true
    }

    private func files(_ tree: any WorldFileTree) -> RotatedFiles {
        RotatedFiles(tree: tree, path: configuration.path)
    }

    private mutating func leave(_ reading: inout Reading) {
        flush(&reading)
        if var end = current?.position {
            end.isFinished = true
            left = end
            leftFiles = leftFiles.suffix(Self.leftMax - 1) + [end]
        }
        resume = nil
        close()
    }

    private mutating func close() {
        assembler.reset()
        current?.file.close()
        current = nil
        seen = nil
    }

    /// Whether the file is shorter than what was read of it, or begins with something else.
    private mutating func wasTruncated() throws(FileError) -> Bool {
        guard let current else { return false }
        let status = try current.file.status()
        if status.size < current.position.offset + assembler.pendingBytes { return true }
        guard try current.position.signature.matches(current.file) else { return true }
        self.current?.position.modified = status.modified
        return false
    }

    /// The file was emptied: what was not read yet may stand in a copy; then the file is read from its start.
    private mutating func restart(_ reading: inout Reading) throws(FileError) {
        guard let old = current else { return }
        skipsHole = true
        if let copy = files(reading.tree).copy(of: old.position) {
            close()
            begin(copy)
            return
        }
        flush(&reading)
        reading.gaps.append(
            lost(
                "was truncated after byte \(old.position.offset); what was written after the last "
                    + "read may be lost"))
        assembler.reset()
        current?.position = FilePosition(
            identity: old.position.identity, offset: 0, signature: FileSignature(head: []))
    }

    /// A compressed file that can't be unpacked further.
    private mutating func abandon(_ reading: inout Reading) {
        let position = current?.position
        reading.gaps.append(
            lost(
                "went on in \(current?.path ?? "a compressed file"), which can't be unpacked past "
                    + "byte \((position?.offset ?? 0) + assembler.pendingBytes) of its content"))
        leave(&reading)
    }

    // MARK: opening

    /// Opens what is to be read next: the file of the stored position, then what was rotated after the file that was
    /// left, then the name. False where there is nothing to open now.
    private mutating func open(_ reading: inout Reading) throws(FileError) -> Bool {
        if let resume {
            guard !isStillBlank(resume, reading.tree) else { return false }
            if !wasCopiedAway(resume, reading.tree),
                let found = files(reading.tree).locate(resume)
            {
                begin(found)
                return true
            }
            if !resume.isFinished, !resume.isBlank {
                reading.gaps.append(
                    lost(
                        "was replaced while it was not read; its rest after byte \(resume.offset) "
                            + "is gone"))
            }
            self.resume = nil
            left = resume
            left?.isFinished = true
            hasLooked = true
        }
        // Rotation goes on meanwhile: each step starts from the file that was left.
        for _ in 0..<Self.stepsMax {
            if openRotated(&reading) { return true }
            let isOpened = try openName(reading.tree)
            guard isOpened, let reached = identity else { return isOpened }
            // Had the name's file been rotated before it was opened, another one would come between.
            guard let left, let next = files(reading.tree).newer(than: left).first,
                next.identity != reached
            else { return true }
            close()
        }
        return false
    }

    /// Opens the oldest file that was rotated after the one that was left. False where there is none.
    private mutating func openRotated(_ reading: inout Reading) -> Bool {
        let files = files(reading.tree)
        for _ in 0..<Self.stepsMax {
            let newer = left.map { files.newer(than: $0) } ?? []
            guard let next = newer.first else { return false }
            let content = files.content(of: next)
            let head = content.flatMap { try? $0.read(at: 0, count: FileSignature.bytesMax) }
            var position = FilePosition(
                identity: next.identity, offset: 0, signature: FileSignature(head: head ?? []),
                modified: next.modified)
            if let content, let head, !head.isEmpty {
                // The newest may be written to for a moment yet; its writer has left the others.
                let isNewest = newer.count == 1 && next.form == .plain
                begin(
                    LocatedFile(
                        file: content, path: next.path,
                        kind: isNewest ? .own : .copy(isCompressed: next.form == .gzip),
                        position: position))
                return true
            }
            content?.close()
            // It may just have been given another name.
            guard (try? reading.tree.status(next.path))?.identity == next.identity else { continue }
            if head == nil {
                reading.gaps.append(lost("was rotated to \(next.path), which can't be read"))
            }
            position.isFinished = true
            self.left = position
        }
        return false
    }

    /// Opens the file that has the name. False where there is none, or nothing in it yet.
    private mutating func openName(_ tree: any WorldFileTree) throws(FileError) -> Bool {
        let isFirst = !hasLooked
        hasLooked = true
        let file: any WorldFile
        var status: FileStatus
        do throws(FileError) {
            status = try tree.status(configuration.path)
            // Nothing to read; and what is no regular file has no size either, and a FIFO would wait for its writer.
            guard status.size > 0 else {
                // The first file of all is known by this, should it be rotated before the next look; any other by the
                // one that was left before it.
                if left == nil {
                    resume = FilePosition(
                        identity: status.identity, offset: 0, signature: FileSignature(head: []),
                        modified: status.modified)
                }
                return false
            }
            file = try tree.open(configuration.path, .read)
        } catch {
            guard error.errno == Self.noEntry else { throw error }
            return false
        }
        do throws(FileError) {
            status = try file.status()
            let head = try file.read(at: 0, count: FileSignature.bytesMax)
            let isFromEnd = isFirst && configuration.start == .tail
            begin(
                LocatedFile(
                    file: file, path: configuration.path, kind: .own,
                    position: FilePosition(
                        identity: status.identity, offset: isFromEnd ? status.size : 0,
                        signature: FileSignature(head: head), modified: status.modified)))
            return true
        } catch {
            file.close()
            throw error
        }
    }

    private func isStillBlank(_ position: FilePosition, _ tree: any WorldFileTree) -> Bool {
        guard position.isBlank, let status = try? tree.status(configuration.path) else {
            return false
        }
        return status.identity == position.identity && status.size == 0
    }

    /// What was written to a file that was empty when it was seen is in a copy of it.
    private func wasCopiedAway(_ position: FilePosition, _ tree: any WorldFileTree) -> Bool {
        guard position.isBlank,
            (try? tree.status(configuration.path))?.identity == position.identity
        else { return false }
        return !files(tree).newer(than: position).isEmpty
    }

    private mutating func begin(_ found: LocatedFile) {
        assembler.reset()
        var position = found.position
        // A file that was left can grow all the same.
        position.isFinished = false
        current = Current(file: found.file, path: found.path, position: position)
        if case .copy(let isCompressed) = found.kind {
            current?.isFinished = true
            current?.isCompressed = isCompressed
        }
        resume = nil
    }

    private func lost(_ detail: String) -> GapRecord {
        GapRecord(
            reason: .fileLost, count: 0, source: "file:\(configuration.path)",
            detail: "\(configuration.path) \(detail)")
    }

    /// A call reads at most this beyond what it returns. Bytes.
    static let scannedBytesMax = 4 << 20
    private static let readBytes = 64 * 1024
    private static let noEntry: Int32 = 2
    /// How long a file is held whose name is gone or belongs to an empty file.
    private static let heldNanoseconds: Int64 = 600_000_000_000
    /// From this age on a file's time says whether it changed.
    private static let settledNanoseconds: Int64 = 2_000_000_000
    private static let leftMax = 16
    /// Rotated files that one call passes over, and tries against rotation going on.
    private static let stepsMax = 16
}
