/// What the posture helper looks at, a group a subject.
package enum PostureGroup: String, CaseIterable, Sendable {
    case kernel, ufw, firewall, audit, sudo, sshd, accounts
    case rootKeys = "root_keys"
    case fail2ban, apparmor

    /// The facts that a full reading of the group has; each is reported in every run, unknown where it was not read.
    package var facts: [PostureFact] {
        PostureFact.allCases.filter { $0.group == self }
    }
}

/// One thing that only root can read. The raw value is the label `fact`.
package enum PostureFact: String, CaseIterable, Sendable {
    case bpfJITHarden = "kernel.bpf_jit_harden"
    case bpfJITHardenConfigured = "kernel.bpf_jit_harden_configured"

    case ufwEnabled = "ufw.enabled"
    case ufwRules = "ufw.rules"
    case ufwRulesV6 = "ufw.rules_v6"
    case ufwAnySourceRules = "ufw.rules_allow_any_source"
    case ufwInput = "ufw.default_input_policy"
    case ufwOutput = "ufw.default_output_policy"
    case ufwForward = "ufw.default_forward_policy"

    case firewallChains = "firewall.chains"
    case firewallInput = "firewall.input_policy"
    case firewallInputV6 = "firewall.input_policy_v6"
    case firewallForward = "firewall.forward_policy"
    case firewallLegacyTables = "firewall.legacy_tables"

    case auditRules = "audit.rules"
    case auditRuleFiles = "audit.rule_files"
    case auditImmutable = "audit.immutable"

    case sudoNoPassword = "sudo.nopasswd_entries"
    case sudoNoPasswordAll = "sudo.nopasswd_all_entries"
    case sudoNoAuthentication = "sudo.no_authentication_defaults"
    case sudoFiles = "sudo.files"

    case sshRootLogin = "sshd.permit_root_login"
    case sshPassword = "sshd.password_authentication"
    case sshKeyboard = "sshd.kbd_interactive_authentication"
    case sshEmptyPasswords = "sshd.permit_empty_passwords"
    case sshPublicKey = "sshd.pubkey_authentication"
    case sshPort = "sshd.port"
    case sshMatchRootLogin = "sshd.match_permit_root_login"
    case sshMatchPassword = "sshd.match_password_authentication"
    case sshMatchKeyboard = "sshd.match_kbd_interactive_authentication"
    case sshMatchEmptyPasswords = "sshd.match_permit_empty_passwords"
    case sshMatchOverrides = "sshd.match_overrides"
    case sshFiles = "sshd.files"

    case accountsEmptyPassword = "accounts.empty_password"
    case accountsPassword = "accounts.password"
    case accountsWeakHash = "accounts.weak_hash"
    case rootPassword = "accounts.root_password"

    case rootKeys = "root_keys.count"

    case fail2banJails = "fail2ban.jails"
    case fail2banJail = "fail2ban.jail"

    case appArmorEnforce = "apparmor.enforce"
    case appArmorComplain = "apparmor.complain"
    case appArmorOther = "apparmor.other"

    var group: PostureGroup {
        switch self {
        case .bpfJITHarden, .bpfJITHardenConfigured: .kernel
        case .ufwEnabled, .ufwRules, .ufwRulesV6, .ufwAnySourceRules, .ufwInput, .ufwOutput,
            .ufwForward:
            .ufw
        case .firewallChains, .firewallInput, .firewallInputV6, .firewallForward,
            .firewallLegacyTables:
            .firewall
        case .auditRules, .auditRuleFiles, .auditImmutable: .audit
        case .sudoNoPassword, .sudoNoPasswordAll, .sudoNoAuthentication, .sudoFiles: .sudo
        case .sshRootLogin, .sshPassword, .sshKeyboard, .sshEmptyPasswords, .sshPublicKey,
            .sshPort, .sshMatchRootLogin, .sshMatchPassword, .sshMatchKeyboard,
            .sshMatchEmptyPasswords, .sshMatchOverrides, .sshFiles:
            .sshd
        case .accountsEmptyPassword, .accountsPassword, .accountsWeakHash, .rootPassword: .accounts
        case .rootKeys: .rootKeys
        case .fail2banJails, .fail2banJail: .fail2ban
        case .appArmorEnforce, .appArmorComplain, .appArmorOther: .apparmor
        }
    }

    /// Whether the fact is a word, in `petrel_posture_root_info`; a number otherwise, in `petrel_posture_root_value`.
    package var isWord: Bool {
        switch self {
        case .ufwInput, .ufwOutput, .ufwForward, .firewallInput, .firewallInputV6,
            .firewallForward, .sshRootLogin, .sshPassword, .sshKeyboard, .sshEmptyPasswords,
            .sshPublicKey, .sshPort, .sshMatchRootLogin, .sshMatchPassword, .sshMatchKeyboard,
            .sshMatchEmptyPasswords, .rootPassword, .fail2banJail:
            true
        case .bpfJITHarden, .bpfJITHardenConfigured, .ufwEnabled, .ufwRules, .ufwRulesV6,
            .ufwAnySourceRules,
            .firewallChains, .firewallLegacyTables, .auditRules, .auditRuleFiles, .auditImmutable,
            .sudoNoPassword, .sudoNoPasswordAll, .sudoNoAuthentication, .sudoFiles,
            .sshMatchOverrides, .sshFiles, .accountsEmptyPassword, .accountsPassword,
            .accountsWeakHash, .rootKeys, .fail2banJails, .appArmorEnforce, .appArmorComplain,
            .appArmorOther:
            false
        }
    }
}

/// Why something is unknown.
package struct PostureProblem: Hashable, Sendable {
    package var path: String
    /// `absent`, `denied`, `too large`, `malformed`, or the system's words.
    package var reason: String

    package init(path: String, reason: String) {
        self.path = path
        self.reason = reason
    }
}

/// What one group's reading found.
package struct PostureReading: Hashable, Sendable {
    /// A word and the file that says it; the file is empty where it is a default.
    package struct Word: Hashable, Sendable {
        package var fact: PostureFact
        package var value: String
        package var source: String
    }

    package private(set) var numbers: [PostureFact: Double] = [:]
    package private(set) var words: [Word] = []
    package private(set) var problems: [PostureProblem] = []
    /// False where something that is there could not be read or understood. What is absent is no failure, but unknown.
    package private(set) var isComplete = true

    /// Characters of a word that are reported.
    static let wordLengthMax = 64
    static let problemsMax = 16

    mutating func set(_ fact: PostureFact, _ value: Int) {
        precondition(!fact.isWord, "a number")
        numbers[fact] = Double(value)
    }

    mutating func set(_ fact: PostureFact, _ value: Bool) { set(fact, value ? 1 : 0) }

    mutating func add(_ fact: PostureFact, word: String, from source: String = "") {
        precondition(fact.isWord, "a word")
        let word = Word(
            fact: fact, value: String(word.prefix(Self.wordLengthMax)), source: source)
        if !words.contains(word) { words.append(word) }
    }

    mutating func fail(_ path: String, _ reason: String) {
        isComplete = false
        note(path, reason)
    }

    mutating func note(_ path: String, _ reason: String) {
        let problem = PostureProblem(path: path, reason: reason)
        guard problems.count < Self.problemsMax, !problems.contains(problem) else { return }
        problems.append(problem)
    }
}
