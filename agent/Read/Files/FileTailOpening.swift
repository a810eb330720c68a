import Model
import World

/// Which file a name's reading goes on in.
extension FileTail {
    /// Rotated files that one call passes over, and tries against rotation going on.
    private static let stepsMax = 16

    /// Opens what is to be read next: the file of the stored position, then what was rotated after the file that was
    /// left, then the name. False where there is nothing to open now.
    mutating func open(_ reading: inout Reading) throws(FileError) -> Bool {
        if let resume {
            guard !isStillBlank(resume, reading.tree) else { return false }
            if !wasCopiedAway(resume, reading), let found = files(reading).locate(resume) {
                begin(found)
                return true
            }
            if !resume.isFinished, !resume.isBlank, isRestWritten {
                lose(
                    "was replaced while it was not read; its rest after byte \(resume.offset) is gone",
                    &reading)
                noted = resume.identity
            }
            self.resume = nil
            left = resume
            left?.isFinished = true
            hasLooked = true
        }
        // Rotation goes on meanwhile: each step starts from the file that was left.
        for _ in 0..<Self.stepsMax {
            if openRotated(&reading) { return true }
            guard !reading.isHeldUp else { return false }
            let isOpened = try openName(&reading)
            guard isOpened, let reached = identity else { return isOpened }
            // Had the name's file been rotated before it was opened, another one would come between.
            guard let left,
                let next = files(reading).newer(than: left).files.first(where: {
                    !reading.others.held.contains($0.identity)
                }),
                next.identity != reached
            else { return true }
            close()
        }
        return false
    }

    /// Whether files that are missing behind the one that was left are gone, and not just being given other names. Says
    /// so then, once.
    private mutating func noteMissing(_ missing: String?, _ reading: inout Reading) -> Bool {
        guard let missing, let left, noted != left.identity else {
            missingSince = nil
            return true
        }
        let since = missingSince ?? reading.now
        missingSince = since
        let age = reading.now.rawValue &- since.rawValue
        guard age < 0 || age >= configuration.rotationGraceNanoseconds else { return false }
        lose(
            "was rotated several times while it was not read; files of it are gone: \(missing)",
            &reading)
        noted = left.identity
        missingSince = nil
        return true
    }

    /// Opens the oldest file that was rotated after the one that was left. False where there is none, or where the call
    /// is to wait, as names are shifted just now (`isHeldUp`).
    private mutating func openRotated(_ reading: inout Reading) -> Bool {
        let files = files(reading)
        for _ in 0..<Self.stepsMax {
            let found = left.map { files.newer(than: $0) } ?? NewerFiles()
            guard noteMissing(found.missing, &reading) else {
                reading.isHeldUp = true
                return false
            }
            let newer = found.files.filter { !reading.others.held.contains($0.identity) }
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
                let bytes = (try? reading.tree.status(next.path))?.size ?? 0
                let form = next.form == .plain ? "" : " (compressed)"
                lose(
                    "was rotated to \(next.path), which can't be read: \(bytes) bytes\(form)",
                    &reading)
            }
            position.isFinished = true
            self.left = position
        }
        return false
    }

    /// Opens the file that has the name. False where there is none, or nothing in it yet.
    private mutating func openName(_ reading: inout Reading) throws(FileError) -> Bool {
        let tree = reading.tree
        let isFirst = !hasLooked
        hasLooked = true
        let file: any WorldFile
        var status: FileStatus
        do throws(FileError) {
            status = try tree.status(configuration.path)
            guard !reading.others.held.contains(status.identity) else {
                reading.isHeldUp = true
                return false
            }
            // Nothing to read; and what is no regular file has no size either, and a FIFO would wait for its writer.
            guard status.size > 0 else {
                // The first file of all is known by this, should it be rotated before the next look; any other by the
                // one that was left before it.
                if left == nil {
                    resume = FilePosition(
                        identity: status.identity, offset: 0, signature: FileSignature(head: []),
                        modified: status.modified)
                    hasMoved = true
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
            if isFromEnd { hasMoved = true }
            var position = FilePosition(
                identity: status.identity, offset: isFromEnd ? status.size : 0,
                signature: FileSignature(head: head), modified: status.modified)
            // The file that was left has its name again, as after its disk was away; or it had another name before.
            if let left = left?.identity == status.identity
                ? left : reading.others.left[status.identity],
                status.size >= left.offset, try left.signature.matches(file)
            {
                position.offset = left.offset
                hasMoved = true
            }
            begin(
                LocatedFile(
                    file: file, path: configuration.path, kind: .own, position: position))
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
    private func wasCopiedAway(_ position: FilePosition, _ reading: Reading) -> Bool {
        guard position.isBlank,
            (try? reading.tree.status(configuration.path))?.identity == position.identity
        else { return false }
        return !files(reading).newer(than: position).files.isEmpty
    }

    mutating func begin(_ found: LocatedFile) {
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
}
