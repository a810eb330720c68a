/// Accounts: passwords that are empty or weakly hashed, and whether root has one. Counts alone, no names, no hashes.
///
/// Source: shadow(5), crypt(5).
enum AccountPosture {
    static let shadow = "/etc/shadow"

    enum Password: String {
        case empty, locked, set
    }

    struct Counts: Hashable {
        var empty = 0
        var set = 0
        var weak = 0
        var root: Password?
        var malformed = 0
    }

    static func read(_ host: PostureHost) -> PostureReading {
        var reading = PostureReading()
        guard let text = host.text(shadow, &reading) else { return reading }
        let counts = count(text)
        if counts.malformed > 0 { reading.fail(shadow, "malformed: \(counts.malformed) lines") }
        reading.set(.accountsEmptyPassword, counts.empty)
        reading.set(.accountsPassword, counts.set)
        reading.set(.accountsWeakHash, counts.weak)
        if let root = counts.root {
            reading.add(.rootPassword, word: root.rawValue, from: shadow)
        } else {
            reading.fail(shadow, "malformed: no root")
        }
        return reading
    }

    static func count(_ text: String) -> Counts {
        var counts = Counts()
        for line in text.postureLines where !line.isEmpty {
            let fields = line.split(separator: ":", omittingEmptySubsequences: false)
            guard fields.count >= 2, !fields[0].isEmpty else {
                counts.malformed += 1
                continue
            }
            let password = password(fields[1])
            switch password {
            case .empty: counts.empty += 1
            case .locked: break
            case .set:
                counts.set += 1
                if isWeak(fields[1]) { counts.weak += 1 }
            }
            if fields[0] == "root" { counts.root = password }
        }
        return counts
    }

    private static func password(_ field: Substring) -> Password {
        if field.isEmpty { return .empty }
        // `!hash` is a hash that `passwd -l` put out of use; `*` and `x` never match.
        if field.hasPrefix("!") || field.hasPrefix("*") || field == "x" { return .locked }
        return .set
    }

    /// MD5, DES and BSDi hashes.
    private static func isWeak(_ hash: Substring) -> Bool {
        hash.hasPrefix("$1$") || hash.hasPrefix("_") || !hash.hasPrefix("$")
    }
}

/// Keys that may log in as root.
///
/// A folder that a unit hides (`ProtectHome=yes`) looks like one without keys; so an empty or unreadable home is unknown.
enum RootKeysPosture {
    static let accounts = "/etc/passwd"

    static func read(_ host: PostureHost) -> PostureReading {
        var reading = PostureReading()
        let home = home(host)
        guard let names = host.names(home, &reading) else { return reading }
        guard !names.isEmpty else {
            reading.fail(home, "empty or hidden")
            return reading
        }
        var aside = PostureReading()
        let settings = SSHPosture.settings(host, &aside)
        let patterns =
            settings?.values["authorizedkeysfile"]?.arguments
            ?? [".ssh/authorized_keys", ".ssh/authorized_keys2"]
        var count = 0
        for pattern in patterns where pattern.lowercased() != "none" {
            guard let path = path(pattern, home: home) else {
                reading.fail(pattern, "token not followed")
                return reading
            }
            switch host.content(path) {
            case .text(let text): count += keys(text)
            case .absent: break
            case .failed(let reason):
                reading.fail(path, reason)
                return reading
            }
        }
        reading.set(.rootKeys, count)
        return reading
    }

    /// Lines that are no comments. Source: sshd(8), AUTHORIZED_KEYS FILE FORMAT.
    static func keys(_ text: String) -> Int {
        text.postureLines.count { line in
            let line = line.trimmed
            return !line.isEmpty && !line.hasPrefix("#")
        }
    }

    private static func home(_ host: PostureHost) -> String {
        guard case .text(let text) = host.content(accounts) else { return "/root" }
        for line in text.postureLines where line.hasPrefix("root:") {
            let fields = line.split(separator: ":", omittingEmptySubsequences: false)
            if fields.count > 5, fields[5].hasPrefix("/") { return String(fields[5]) }
        }
        return "/root"
    }

    /// `%h`, `%u`, `%U` and `%%` resolved; nil for another token.
    static func path(_ pattern: String, home: String) -> String? {
        var path = ""
        var rest = pattern[...]
        while let character = rest.popFirst() {
            guard character == "%" else {
                path.append(character)
                continue
            }
            switch rest.popFirst() {
            case "h": path += home
            case "u": path += "root"
            case "U": path += "0"
            case "%": path += "%"
            default: return nil
            }
        }
        return path.hasPrefix("/") ? path : home + "/" + path
    }
}
