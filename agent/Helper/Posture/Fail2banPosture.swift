/// fail2ban: which jails its files switch on. What its server is doing is in its journal and behind a socket of root's.
///
/// Source: jail.conf(5): jail.conf, jail.d/*.conf by name, jail.local, jail.d/*.local; the last value of a section wins,
/// `[DEFAULT]` stands in where it has none.
enum Fail2banPosture {
    static let folder = "/etc/fail2ban"
    static let jailsMax = 64

    static func read(_ host: PostureHost) -> PostureReading {
        var reading = PostureReading()
        guard let main = host.text(folder + "/jail.conf", &reading) else { return reading }
        var sections = Sections()
        sections.read(main)
        var aside = PostureReading()
        let names = host.names(folder + "/jail.d", &aside) ?? []
        let files =
            names.filter { $0.hasSuffix(".conf") }.map { folder + "/jail.d/" + $0 }
            + [folder + "/jail.local"]
            + names.filter { $0.hasSuffix(".local") }.map { folder + "/jail.d/" + $0 }
        for path in files {
            switch host.content(path) {
            case .text(let text): sections.read(text)
            case .absent: break
            case .failed(let reason): reading.fail(path, reason)
            }
        }
        let jails = sections.enabled
        reading.set(.fail2banJails, jails.count)
        for jail in jails.prefix(jailsMax) { reading.add(.fail2banJail, word: jail) }
        if sections.unreadable > 0 {
            reading.fail(folder, "malformed: \(sections.unreadable) values of enabled")
        }
        return reading
    }

    /// `enabled` of every section, as the files so far say.
    struct Sections {
        private var values: [String: Bool] = [:]
        private(set) var unreadable = 0

        mutating func read(_ text: String) {
            var section = ""
            for line in text.postureLines {
                guard let first = line.first, first != "#", first != ";", first != " ",
                    first != "\t"
                else { continue }
                if first == "[", let end = line.firstIndex(of: "]") {
                    section = String(line[line.index(after: line.startIndex)..<end])
                    if values[section] == nil, section != "DEFAULT", section != "INCLUDES" {
                        known.insert(section)
                    }
                    continue
                }
                guard let separator = line.firstIndex(where: { $0 == "=" || $0 == ":" }),
                    line[..<separator].trimmed.lowercased() == "enabled"
                else { continue }
                let value = line[line.index(after: separator)...]
                    .prefix { $0 != "#" && $0 != ";" }.trimmed.lowercased()
                switch value {
                case "true", "yes", "on", "1": values[section] = true
                case "false", "no", "off", "0": values[section] = false
                default: unreadable += 1
                }
            }
        }

        private var known: Set<String> = []

        /// Names in byte order.
        var enabled: [String] {
            let standard = values["DEFAULT"] ?? false
            return known.filter { values[$0] ?? standard }.sorted()
        }
    }
}
