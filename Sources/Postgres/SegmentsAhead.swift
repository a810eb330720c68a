import Glibc

/// Segments of the server's write-ahead log that are made before it needs them.
///
/// A server that finds no space for the next segment ends, whatever else it could still do. It takes a file of the
/// segment's name where there is one, zeros or an old segment's bytes, as it takes those that a checkpoint recycled; so
/// the next ones always stand there. Source: PostgreSQL 15, `XLogFileInit` and `InstallXLogFileSegment`.
struct SegmentsAhead: Sendable {
    /// So many stand ahead of the one that is written. `min_wal_size` of these and that one has checkpoints recycle as
    /// many when the disk is full.
    static let count: UInt64 = 6
    /// `initdb` without `--wal-segsize`; a cluster with others is left alone.
    static let byteCount = 16 << 20
    /// Segments whose names have the same first 16 digits.
    private static let perLog = UInt64(1) << 32 / UInt64(byteCount)

    /// The server's `pg_wal`.
    let path: String
    let user: uid_t
    let group: gid_t
    /// With less space free than this many bytes none is made.
    let freeBytesMin: Int64

    /// One segment: its number is its place in the log in units of its size.
    struct Segment: Hashable, Sendable {
        var timeline: UInt32
        var number: UInt64

        init(timeline: UInt32, number: UInt64) {
            self.timeline = timeline
            self.number = number
        }

        /// 24 digits: timeline, number / 256, number % 256. Nil for another name.
        init?(name: String) {
            let digits = Array(name.utf8)
            guard digits.count == 24, let timeline = UInt32(name.prefix(8), radix: 16),
                let log = UInt64(name.dropFirst(8).prefix(8), radix: 16),
                let place = UInt64(name.suffix(8), radix: 16), place < SegmentsAhead.perLog
            else { return nil }
            self.init(timeline: timeline, number: log * SegmentsAhead.perLog + place)
        }

        var name: String {
            [UInt64(timeline), number / SegmentsAhead.perLog, number % SegmentsAhead.perLog].map {
                let text = String($0, radix: 16, uppercase: true)
                return String(repeating: "0", count: 8 - text.count) + text
            }.joined()
        }
    }

    /// Makes those that are missing while the disk has room for them. Where it has none, or refuses: the number of the
    /// segment that is written now, after which too few stand there; what fails is tried again the next time.
    ///
    /// The one that a running server needs next it makes itself: from PostgreSQL 16 on it would put its own over ours.
    func keep(isServerRunning: Bool) -> UInt64? {
        guard let folder = ServerFolder(path, user: user, group: group) else { return nil }
        folder.removeDrafts()
        guard let current = current(folder) else { return nil }
        for ahead in 1...Self.count {
            let next = Segment(timeline: current.timeline, number: current.number + ahead)
            guard !folder.has(next.name) else { continue }
            guard let free = folder.freeBytes, free >= freeBytesMin else { return current.number }
            if ahead == 1, isServerRunning { continue }
            let isMade = folder.make(next.name) { file in
                // The server may have come near it meanwhile.
                Self.writeZeros(file)
                    && (!isServerRunning
                        || self.current(folder).map { $0.number + 1 < next.number } == true)
            }
            guard isMade else { return current.number }
        }
        return nil
    }

    /// The newest segment with content; nil where there is none, and where segments are of another size.
    ///
    /// Its first page tells the place in the log at which it was written: 16 bits of magic, 16 of flags, 32 of timeline,
    /// 64 of place. One that was recycled, or that we made, tells another. Source: PostgreSQL 15, `xlog_internal.h`.
    private func current(_ folder: borrowing ServerFolder) -> Segment? {
        let segments = folder.names.compactMap { Segment(name: $0) }.sorted {
            ($0.timeline, $0.number) > ($1.timeline, $1.number)
        }
        for segment in segments {
            let isWritten = folder.with(segment.name, O_RDONLY) { file in
                var facts = stat()
                var head: (UInt64, UInt64) = (0, 0)
                return fstat(file, &facts) == 0 && facts.st_size == off_t(Self.byteCount)
                    && pread(file, &head, 16, 0) == 16
                    && UInt32(truncatingIfNeeded: head.0 >> 32) == segment.timeline
                    && head.1 == segment.number * UInt64(Self.byteCount)
            }
            if isWritten == true { return segment }
        }
        return nil
    }

    /// Space that a file merely claims may need more when it is written.
    private static func writeZeros(_ file: Int32) -> Bool {
        let zeros = [UInt8](repeating: 0, count: 1 << 20)
        return (0..<byteCount / zeros.count).allSatisfy { _ in
            write(file, zeros, zeros.count) == zeros.count
        }
    }
}
