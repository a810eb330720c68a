package import Model
package import World

/// The reading of one log file by name: a state machine over a file tree, with the time as an argument.
///
/// It follows the name through rotation by rename (the old file to its end, then those rotated since, compressed or
/// not, then the new one), by copy and truncation (the rest from the copy, then the file from its start) and through
/// symbolic links that change their target. A line is its bytes up to `\n`; a `\r` before it is kept, as the line's
/// bytes are the writer's. Lines past `LogEntry.lineBytesMax` are cut and marked `petrel_cut=<length>`; a line whose
/// end was given up waiting for is marked `petrel_partial`, what goes on with an entry before `petrel_continued`.
package struct FileTail: Sendable {
    struct Current: Sendable {
        var file: any WorldFile
        var path: String
        var position: FilePosition
        /// The name belongs to another file, or to none, since this time.
        var awaySince: TimestampNS?
        /// A copy of a truncated file, or one that rotation left behind: nobody writes to it.
        var isFinished = false
        var isCompressed = false
    }

    private(set) var configuration: FileTailConfiguration
    /// Stream labels of what is read from now on.
    var labels: Labels
    var resume: FilePosition?
    var hasLooked = false
    var current: Current?
    var assembler: LineAssembler
    private var lastGrowth = TimestampNS(0)
    private var lastTimestamp = TimestampNS(.min)
    /// The end of the file that was left last: what was rotated after it comes next.
    var left: FilePosition?
    /// Behind the file that was left files are missing, as it looks, since this time: names may just be shifted.
    var missingSince: TimestampNS?
    /// The file whose rest, or what came behind it, is noted as lost.
    var noted: FileIdentity?
    /// Ends of files that were left since `takeLeft`, the newest last.
    private var leftFiles: [FilePosition] = []
    /// What the name was when everything had been read.
    private var seen: FileStatus?
    /// There may be more in the file to resume than was read: nobody saw it idle at its end.
    var isRestWritten = true
    /// What the name and its folder were when there was nothing to open.
    private var vain: Look?
    private var docker = DockerLines()
    /// Bytes of the current file behind its position that wait for a line's end in `docker`.
    private var heldBytes: Int64 = 0
    /// Where the lines that wait begin, if that is in a file that was left.
    private var heldPosition: FilePosition?
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
        labels = configuration.labels
    }

    /// Where reading goes on after the entries that were returned; nil before a file was found.
    package var position: FilePosition? {
        heldPosition ?? current?.position ?? resume ?? (left?.isBlank == true ? nil : left)
    }

    /// The last call ended at one of its bounds: there is more to read at once.
    package private(set) var hasMore = false

    /// The last call moved the position, with or without entries: a file was left, or is read from its end. It is to be
    /// kept even where no entry came with it.
    package internal(set) var hasMoved = false

    /// Whether a file is held open.
    package var isOpen: Bool { current != nil }

    /// The file that is read or will be read on.
    var identity: FileIdentity? { (current?.position ?? resume)?.identity }

    /// Up to `max` entries that are there now, and losses found on the way. Throws where a file can't be read.
    /// Reads at most `scannedBytesMax` beyond one record. Of Docker's lines those that waited for another come with it,
    /// `DockerLines.waitingMax` more at most.
    package mutating func poll(
        _ tree: any WorldFileTree, now: TimestampNS, max: Int
    ) throws(FileError) -> (items: [LogReadChunk.Item], gaps: [GapRecord]) {
        try poll(tree, now: now, max: max, others: Others())
    }

    /// Files that are followed by other names: what has this one's name may be one of them.
    struct Others: Sendable {
        /// They are read on there, and not here.
        var held: Set<FileIdentity> = []
        /// They were read to here.
        var left: [FileIdentity: FilePosition] = [:]
        /// Both, and the ends of files that were left: what was compressed may be of them.
        var known: [FilePosition] = []
        /// The file will be followed by another name: it is not left.
        var keepsFile = false
    }

    mutating func poll(
        _ tree: any WorldFileTree, now: TimestampNS, max: Int, others: Others
    ) throws(FileError) -> (items: [LogReadChunk.Item], gaps: [GapRecord]) {
        var reading = Reading(tree: tree, now: now, max: max, others: others)
        hasMoved = false
        // Before the reading: what changes meanwhile is seen at the next call.
        let look = hasNoFile ? look(tree, now) : nil
        vain = nil
        do throws(FileError) {
            try fill(&reading)
        } catch {
            // What was read is handed over first; the fault is still there at the next call.
            if reading.items.isEmpty, reading.gaps.isEmpty { throw error }
        }
        hasMore = reading.isFull
        if reading.items.isEmpty, reading.gaps.isEmpty, !hasMore {
            seen = try? tree.status(configuration.path)
            if hasNoFile, !reading.isHeldUp { vain = look }
        } else {
            seen = nil
        }
        return (reading.items, reading.gaps)
    }

    /// Neither reads a file nor knows which to read on.
    private var hasNoFile: Bool { current == nil && resume == nil }

    /// What a name and its folder are.
    private struct Look: Hashable, Sendable {
        /// Nil where there is no such name.
        let name: FileStatus?
        let folder: FileStatus
    }

    /// Nil where the times are too young to say whether something changes, or not kept.
    private func look(_ tree: any WorldFileTree, _ now: TimestampNS) -> Look? {
        guard let folder = try? tree.status(RotatedFiles.folder(of: configuration.path)),
            Self.isSettled(folder, now)
        else { return nil }
        let name = try? tree.status(configuration.path)
        if let name, !Self.isSettled(name, now) { return nil }
        return Look(name: name, folder: folder)
    }

    /// A time that is young may stay the same at another change; a tree without times says nothing.
    private static func isSettled(_ status: FileStatus, _ now: TimestampNS) -> Bool {
        status.modified.rawValue != 0
            && now.rawValue &- status.modified.rawValue > settledNanoseconds
    }

    /// Whether a look at the name alone, or at it and its folder, says that there is nothing to do. Two calls of the file
    /// system.
    mutating func hasNothingNew(_ tree: any WorldFileTree, now: TimestampNS) -> Bool {
        if docker.isOpen { return false }
        if hasNoFile { return vain != nil && vain == look(tree, now) }
        guard assembler.pendingBytes == 0, current?.awaySince == nil,
            current?.isFinished != true, let status = try? tree.status(configuration.path),
            Self.isSettled(status, now)
        else { return false }
        if let current {
            return status == seen && status.identity == current.position.identity
                && status.size == current.position.offset
        }
        guard let resume else { return false }
        let isSame =
            status.identity == resume.identity && status.size == resume.offset
            && status.modified == resume.modified
        let age = now.rawValue &- status.modified.rawValue
        isRestWritten = !isSame || age < Self.idleNanoseconds
        return isSame
    }

    /// Lets go of the file, to make room for another: reading goes on from its position.
    mutating func suspend() {
        guard current != nil else { return }
        resume = position
        isRestWritten = true
        dropJoins()
        close()
    }

    /// The file has another name now and is read on under that.
    mutating func rename(_ configuration: FileTailConfiguration) {
        if current == nil { resume = position }
        self.configuration = configuration
        labels = configuration.labels
        current?.path = configuration.path
        current?.awaySince = nil
        left = nil
        hasLooked = true
        seen = nil
        vain = nil
    }

    /// The name was seen to have another file, or none.
    var isAway: Bool { current?.awaySince != nil }

    /// The next call may open a file by its name.
    var mayOpen: Bool { current == nil || isAway || current?.isFinished == true }

    /// Ends of the files that were left since the last call.
    mutating func takeLeft() -> [FilePosition] {
        defer { leftFiles = [] }
        return leftFiles
    }

    /// What one call reads, and how much of its bounds is used up.
    struct Reading {
        let tree: any WorldFileTree
        let now: TimestampNS
        let max: Int
        let others: Others
        /// The name has a file that is read under another one.
        var isHeldUp = false
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
        if isOld(docker, reading.now) { endJoins(&reading) }
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
            let start = current.position.offset + unreadBytes
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

    /// Makes a record an entry, or Docker's lines entries where none of them is incomplete.
    private mutating func emit(
        _ record: LineAssembler.Record, _ current: inout Current, _ reading: inout Reading
    ) {
        guard configuration.decoding.isDocker else {
            let line = DockerLines.Line(
                bytes: record.bytes, length: record.length, isPartial: record.isPartial,
                isContinuation: record.isContinuation)
            add(line, &reading)
            current.position.offset += record.consumed
            return
        }
        heldBytes += record.consumed
        docker.add(record, now: reading.now)
        if isOld(docker, reading.now) { docker.close() }
        current.position.offset += release(&reading)
    }

    /// Times of reading ascend strictly.
    private mutating func add(_ line: DockerLines.Line, _ reading: inout Reading) {
        var timestamp = line.time
        if timestamp == nil {
            lastTimestamp = max(reading.now, lastTimestamp.advanced(byNanoseconds: 1))
            timestamp = lastTimestamp
        }
        let extracted = FieldExtractor.extract(line.bytes)
        var metadata = Labels(sortedUnchecked: extracted.fields)
        if line.length > Int64(line.bytes.count) {
            metadata = metadata.setting("petrel_cut", "\(line.length)")
        }
        if line.isPartial { metadata = metadata.setting("petrel_partial", "true") }
        if line.isContinuation { metadata = metadata.setting("petrel_continued", "true") }
        if let stream = line.stream { metadata = metadata.setting("stream", stream.rawValue) }
        reading.items.append(
            LogReadChunk.Item(
                stream: labels,
                entry: LogEntry(
                    timestamp: timestamp ?? reading.now, line: line.bytes,
                    level: extracted.level, metadata: metadata)))
        reading.bytes += line.bytes.count
    }

    // MARK: lines in parts

    /// Bytes of the current file behind its position that were read.
    private var unreadBytes: Int64 { heldBytes + assembler.pendingBytes }

    private func isOld(_ docker: DockerLines, _ now: TimestampNS) -> Bool {
        let age = now.rawValue &- docker.openedAt.rawValue
        return docker.isOpen && (age >= configuration.partialLineNanoseconds || age < 0)
    }

    /// Hands over the lines that wait, where none of them is incomplete. The bytes of the current file that are done
    /// with by that.
    private mutating func release(_ reading: inout Reading) -> Int64 {
        guard !docker.isOpen else { return 0 }
        for line in docker.take() { add(line, &reading) }
        heldPosition = nil
        defer { heldBytes = 0 }
        return heldBytes
    }

    /// Hands over the lines that wait as they are.
    private mutating func endJoins(_ reading: inout Reading) {
        guard docker.isOpen else { return }
        docker.close()
        let done = release(&reading)
        current?.position.offset += done
    }

    /// Forgets the lines that wait: they are read again.
    private mutating func dropJoins() {
        docker = DockerLines()
        heldBytes = 0
        heldPosition = nil
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
        guard !reading.others.keepsFile else {
            flushWhenOld(&reading)
            return false
        }
        // The name may be gone for a moment, and the writer may not have taken the new file yet: while that is empty
        // the old one is read on, but not for ever, as a deleted file keeps its place on the disk.
        if (status?.size ?? 0) == 0, (0..<Self.heldNanoseconds).contains(age),
            files(reading).newer(than: current.position).files.isEmpty
        {
            flushWhenOld(&reading)
            return false
        }
        leave(&reading)
        return true
    }

    func files(_ reading: Reading) -> RotatedFiles {
        RotatedFiles(
            tree: reading.tree, path: configuration.path,
            countsFromNewest: configuration.decoding.isDocker,
            isFollowed: configuration.isFollowed, known: reading.others.known)
    }

    /// Lines in parts go on in the file that comes next.
    private mutating func leave(_ reading: inout Reading) {
        flush(&reading)
        if var end = current?.position {
            if docker.isOpen, heldPosition == nil { heldPosition = end }
            end.offset += heldBytes
            heldBytes = 0
            end.isFinished = true
            left = end
            leftFiles = leftFiles.suffix(Self.leftMax - 1) + [end]
            hasMoved = true
        }
        resume = nil
        close()
    }

    mutating func close() {
        assembler.reset()
        current?.file.close()
        current = nil
        seen = nil
    }

    /// Whether the file is shorter than what was read of it, or begins with something else.
    private mutating func wasTruncated() throws(FileError) -> Bool {
        guard let current else { return false }
        let status = try current.file.status()
        if status.size < current.position.offset + unreadBytes { return true }
        guard try current.position.signature.matches(current.file) else { return true }
        self.current?.position.modified = status.modified
        return false
    }

    /// The file was emptied: what was not read yet may stand in a copy; then the file is read from its start.
    private mutating func restart(_ reading: inout Reading) throws(FileError) {
        if heldPosition != nil { endJoins(&reading) }
        guard let old = current else { return }
        skipsHole = true
        if let copy = files(reading).copy(of: old.position) {
            dropJoins()
            close()
            begin(copy)
            return
        }
        flush(&reading)
        lose(
            "was truncated after byte \(old.position.offset); what was written after the last read may be "
                + "lost", &reading)
        assembler.reset()
        current?.position = FilePosition(
            identity: old.position.identity, offset: 0, signature: FileSignature(head: []))
    }

    /// A compressed file that can't be unpacked further.
    private mutating func abandon(_ reading: inout Reading) {
        let position = current?.position
        let reached = (position?.offset ?? 0) + unreadBytes
        lose(
            "went on in \(current?.path ?? "a compressed file"), which can't be unpacked past byte "
                + "\(reached) of its content", &reading)
        leave(&reading)
    }

    /// Notes a loss, behind the lines before it.
    mutating func lose(_ detail: String, _ reading: inout Reading) {
        endJoins(&reading)
        reading.gaps.append(
            GapRecord(
                reason: .fileLost, count: 0, source: "file:\(configuration.path)",
                detail: "\(configuration.path) \(detail)"))
    }

    /// A call reads at most this beyond what it returns. Bytes.
    static let scannedBytesMax = 4 << 20
    private static let readBytes = 64 * 1024
    static let noEntry: Int32 = 2
    /// How long a file is held whose name is gone or belongs to an empty file.
    private static let heldNanoseconds: Int64 = 600_000_000_000
    /// From this age on a file's time says whether it changed.
    private static let settledNanoseconds: Int64 = 2_000_000_000
    private static let leftMax = 16
    /// A file that has not grown for so long and is gone had no more to read.
    private static let idleNanoseconds: Int64 = 60_000_000_000
}
