/// ufw: whether it is on, what it does by default, how many rules a person added.
///
/// `user.rules` keeps one comment a rule, `### tuple ### allow tcp 22 0.0.0.0/0 any 10.0.0.2 in`: action, protocol,
/// destination port, destination, source port, source, direction. Source: ufw 0.36 `backend_iptables.py`.
enum UFWPosture {
    static let configuration = "/etc/ufw/ufw.conf"
    static let defaults = "/etc/default/ufw"
    static let rules = "/etc/ufw/user.rules"
    static let rulesV6 = "/etc/ufw/user6.rules"

    static func read(_ host: PostureHost) -> PostureReading {
        var reading = PostureReading()
        guard let text = host.text(configuration, &reading) else { return reading }
        if let enabled = setting("ENABLED", in: text) {
            reading.set(.ufwEnabled, enabled.lowercased() == "yes")
        } else {
            reading.fail(configuration, "malformed: no ENABLED")
        }
        if let text = host.text(defaults, &reading) {
            for (name, fact) in [
                ("DEFAULT_INPUT_POLICY", PostureFact.ufwInput),
                ("DEFAULT_OUTPUT_POLICY", .ufwOutput), ("DEFAULT_FORWARD_POLICY", .ufwForward),
            ] {
                guard let policy = setting(name, in: text) else { continue }
                reading.add(fact, word: policy.lowercased(), from: defaults)
            }
        }
        var openCount: Int?
        for (path, fact) in [(rules, PostureFact.ufwRules), (rulesV6, .ufwRulesV6)] {
            guard let text = host.text(path, &reading) else { continue }
            let counts = count(text)
            reading.set(fact, counts.all)
            openCount = (openCount ?? 0) + counts.allowingAnySource
        }
        if let openCount { reading.set(.ufwAnySourceRules, openCount) }
        return reading
    }

    /// The last `NAME=value` or `NAME="value"` of a shell fragment.
    static func setting(_ name: String, in text: String) -> String? {
        var found: String?
        for line in text.postureLines {
            let line = line.trimmed
            guard line.hasPrefix(name + "=") else { continue }
            found = String(
                line.dropFirst(name.count + 1).prefix { $0 != "#" }.filter {
                    $0 != "\"" && $0 != "'" && $0 != " " && $0 != "\t"
                })
        }
        return found
    }

    static func count(_ text: String) -> (all: Int, allowingAnySource: Int) {
        var all = 0
        var anySource = 0
        for line in text.postureLines where line.hasPrefix("### tuple ### ") {
            all += 1
            let words = line.dropFirst(14).words
            guard words.count >= 6 else { continue }
            // `allow_log`, `route:allow`
            let action = words[0].prefix { $0 != "_" }
            if action == "allow" || action == "route:allow",
                words[5] == "0.0.0.0/0" || words[5] == "::/0"
            {
                anySource += 1
            }
        }
        return (all, anySource)
    }
}
