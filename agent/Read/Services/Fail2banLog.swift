import World

/// What fail2ban's log tells of its jails, kept up with as the log grows.
///
/// A line is `2026-11-26 15:41:00,123 fail2ban.actions        [812]: NOTICE  [sshd] Ban 192.0.2.1`. Everything counts
/// from the server's last start, as in `fail2ban-client status`. Of bans the hashes of the addresses are kept, not
/// the addresses.
/// Source: fail2ban 1.1 `server/actions.py`, `server/filter.py`, `server/jail.py`, `server/server.py`, `helpers.py`.
struct Fail2banLog: Sendable {
    /// Bytes that one reading looks at.
    static let readingBytesMax: Int64 = 4 << 20
    /// Bytes of a log that are looked at when it is first seen, its last ones.
    static let firstBytesMax: Int64 = 8 << 20
    /// Addresses that are known to be banned, in all jails.
    static let bansMax = 50_000
    static let jailsMax = 200
    private static let pieceBytes = 256 * 1024

    struct Jail: Sendable {
        var failedTotal: UInt64 = 0
        /// With those that a start restores.
        var bannedTotal: UInt64 = 0
        var banned: Set<UInt64> = []
    }

    private(set) var jails: [String: Jail] = [:]
    /// The process that wrote the last line; nil where there is none, or where it was the server's farewell.
    private(set) var process: UInt64?
    /// Whether the server said farewell last.
    private(set) var hasExited = false
    /// Bans or jails past the bounds were left out.
    private(set) var isCut = false
    /// Whether the log was once read to its end.
    private(set) var isCaughtUp = false
    private var bansCount = 0
    private var identity: FileIdentity?
    /// Everything before it is counted.
    private var offset: Int64 = 0

    /// Reads on, at most `readingBytesMax`. A log that was rotated by renaming it to `path.1` is read to its end there
    /// first; one that was compressed at once, or cut, loses what was written since the last reading.
    mutating func catchUp(_ tree: any WorldFileTree, _ path: String) throws(FileError) {
        var left = Self.readingBytesMax
        let file = try tree.open(path, .read)
        defer { file.close() }
        let status = try file.status()
        if identity != status.identity {
            try leave(tree, path + ".1", &left)
            guard left > 0 else { return }
            offset = isCaughtUp ? 0 : max(0, status.size - Self.firstBytesMax)
            identity = status.identity
        }
        if status.size < offset { offset = 0 }
        try read(file, to: status.size, &left)
        if offset >= status.size || left > 0 { isCaughtUp = true }
    }

    /// The rotated log: from its end where it is the one that was read, from its start where none was read yet.
    private mutating func leave(
        _ tree: any WorldFileTree, _ path: String, _ left: inout Int64
    ) throws(FileError) {
        guard let file = try? tree.open(path, .read) else { return }
        defer { file.close() }
        guard let status = try? file.status(), !status.isDirectory else { return }
        if identity == nil {
            identity = status.identity
            offset = max(0, status.size - Self.firstBytesMax)
        }
        guard identity == status.identity else { return }
        try read(file, to: status.size, &left)
    }

    private mutating func read(
        _ file: any WorldFile, to size: Int64, _ left: inout Int64
    ) throws(FileError) {
        while offset < size, left > 0 {
            let piece = try file.read(at: offset, count: Self.pieceBytes)
            guard !piece.isEmpty else { return }
            guard let end = piece.lastIndex(of: 10) else {
                // No line is that long; the start of one is read again when it is whole.
                guard piece.count == Self.pieceBytes else { return }
                offset += Int64(piece.count)
                left -= Int64(piece.count)
                continue
            }
            ProcText.forEachLine(Array(piece[..<end])) { add($0) }
            offset += Int64(end + 1)
            left -= Int64(end + 1)
        }
    }

    /// One line.
    private mutating func add(_ line: ArraySlice<UInt8>) {
        let parts = line.split(separator: 32, maxSplits: 2)
        guard parts.count == 3, parts[0].count == 10, ProcText.hasPrefix(parts[2], "fail2ban."),
            let open = parts[2].firstIndex(of: UInt8(ascii: "[")),
            let close = parts[2].firstIndex(of: UInt8(ascii: "]")), open < close,
            let text = Self.message(parts[2][(close + 1)...])
        else { return }
        process = ProcText.unsigned(parts[2][(open + 1)..<close])
        hasExited = false
        if text.first == UInt8(ascii: "[") {
            addEvent(text.dropFirst())
        } else if ProcText.hasPrefix(text, "Starting Fail2ban") {
            (jails, bansCount, isCut) = ([:], 0, false)
        } else if ProcText.hasPrefix(text, "Exiting Fail2ban") {
            (process, hasExited) = (nil, true)
        } else if ProcText.hasPrefix(text, "Jail '") {
            addJail(text.dropFirst(6))
        }
    }

    /// What follows `: NOTICE  `.
    private static func message(_ rest: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        guard ProcText.hasPrefix(rest, ": ") else { return nil }
        let level = rest.dropFirst(2)
        guard let space = level.firstIndex(of: 32) else { return nil }
        return level[space...].drop { $0 == 32 }
    }

    /// `sshd' started` or `sshd' stopped`
    private mutating func addJail(_ text: ArraySlice<UInt8>) {
        guard let quote = text.firstIndex(of: UInt8(ascii: "'")) else { return }
        let name = ProcText.string(text[..<quote])
        switch ProcText.string(text[(quote + 1)...]) {
        case " started": change(name) { _, _ in }
        case " stopped": bansCount -= jails.removeValue(forKey: name)?.banned.count ?? 0
        default: return
        }
    }

    /// `sshd] Ban 192.0.2.1`
    private mutating func addEvent(_ text: ArraySlice<UInt8>) {
        guard let close = text.firstIndex(of: UInt8(ascii: "]")) else { return }
        let name = ProcText.string(text[..<close])
        var words = text[(close + 1)...].split(separator: 32, maxSplits: 3)[...]
        guard var verb = words.popFirst() else { return }
        let isRestored = ProcText.equals(verb, "Restore")
        if isRestored || ProcText.equals(verb, "Repeal") {
            guard let second = words.popFirst(), ProcText.equals(second, "Ban") else { return }
            verb = isRestored ? second : verb
        }
        guard let address = words.first else { return }
        let hash = Self.hash(address)
        if ProcText.equals(verb, "Found") || ProcText.equals(verb, "Attempt") {
            change(name) { jail, _ in jail.failedTotal &+= 1 }
        } else if ProcText.equals(verb, "Ban") {
            change(name) { jail, hasRoom in
                jail.bannedTotal &+= 1
                if hasRoom { jail.banned.insert(hash) }
            }
        } else if ProcText.equals(verb, "Unban") || ProcText.equals(verb, "Repeal") {
            change(name) { jail, _ in jail.banned.remove(hash) }
        }
    }

    /// Changes a jail, which is made where there is none yet.
    private mutating func change(_ name: String, _ body: (inout Jail, Bool) -> Void) {
        guard jails[name] != nil || jails.count < Self.jailsMax else {
            isCut = true
            return
        }
        let hasRoom = bansCount < Self.bansMax
        isCut = isCut || !hasRoom
        var jail = jails.removeValue(forKey: name) ?? Jail()
        let before = jail.banned.count
        body(&jail, hasRoom)
        bansCount += jail.banned.count - before
        jails[name] = jail
    }

    /// FNV-1a.
    private static func hash(_ bytes: ArraySlice<UInt8>) -> UInt64 {
        bytes.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
    }
}
