/// AppArmor: how many profiles the kernel has in which mode.
enum AppArmorPosture {
    static let profiles = "/sys/kernel/security/apparmor/profiles"

    static func read(_ host: PostureHost) -> PostureReading {
        var reading = PostureReading()
        guard let text = host.text(profiles, &reading) else { return reading }
        let counts = count(text)
        reading.set(.appArmorEnforce, counts.enforce)
        reading.set(.appArmorComplain, counts.complain)
        reading.set(.appArmorOther, counts.other)
        return reading
    }

    /// Lines are `name (mode)`; a name may have spaces and brackets of its own.
    static func count(_ text: String) -> (enforce: Int, complain: Int, other: Int) {
        var counts = (enforce: 0, complain: 0, other: 0)
        for line in text.postureLines where !line.isEmpty {
            let mode = line.lastIndex(of: "(").map { line[line.index(after: $0)...] } ?? ""
            switch mode {
            case "enforce)": counts.enforce += 1
            case "complain)": counts.complain += 1
            default: counts.other += 1
            }
        }
        return counts
    }
}
