/// auditd: its rules as they stand on disk, and whether they lock themselves.
///
/// `augenrules` builds audit.rules from rules.d; hosts without it write audit.rules alone. Source: auditctl(8),
/// augenrules(8), audit 3.0.
enum AuditPosture {
    static let folder = "/etc/audit/rules.d"
    static let compiled = "/etc/audit/audit.rules"

    static func read(_ host: PostureHost) -> PostureReading {
        var reading = PostureReading()
        var files = (host.names(folder, &reading) ?? []).filter { $0.hasSuffix(".rules") }
            .map { folder + "/" + $0 }
        if files.isEmpty { files = [compiled] }
        var rules = 0
        var readCount = 0
        var enabled = ""
        for path in files {
            guard let text = host.text(path, &reading) else { continue }
            readCount += 1
            let found = parse(text)
            rules += found.rules
            enabled = found.enabled ?? enabled
        }
        guard readCount > 0 else { return reading }
        reading.set(.auditRules, rules)
        reading.set(.auditRuleFiles, readCount)
        reading.set(.auditImmutable, enabled == "2")
        return reading
    }

    /// Rules (`-a`, `-A`, `-w`) and the value of the last `-e`.
    static func parse(_ text: String) -> (rules: Int, enabled: String?) {
        var rules = 0
        var enabled: String?
        for line in text.postureLines {
            let words = line.words
            switch words.first {
            case "-a", "-A", "-w": rules += 1
            case "-D": rules = 0
            case "-e" where words.count > 1: enabled = String(words[1])
            default: break
            }
        }
        return (rules, enabled)
    }
}
