package import World

/// What one service needs to be read: steps in the order they are done.
package struct SetupPlan: Hashable, Sendable {
    /// `postgresql 15/main`, `pgbouncer`, …
    package var subject: String
    package var steps: [SetupStep]
    /// Texts that are never printed: passwords and what they are checked against.
    package var secrets: [String]

    package init(subject: String, steps: [SetupStep] = [], secrets: [String] = []) {
        self.subject = subject
        self.steps = steps
        self.secrets = secrets
    }

    /// Adds a step; a second change of one file, made against the same content, joins the first.
    mutating func add(_ step: SetupStep) {
        if case .changeFile(let change) = step {
            for (index, earlier) in steps.enumerated() {
                guard case .changeFile(var first) = earlier, first.path == change.path else {
                    continue
                }
                first.edits += change.edits
                first.why += "; " + change.why
                first.missing += "; " + change.missing
                steps[index] = .changeFile(first)
                return
            }
        }
        steps.append(step)
    }

    /// Something would be written or run.
    package var hasChanges: Bool { steps.contains { $0.isChange } }
    /// Something is missing that this program can't do.
    package var isBlocked: Bool {
        steps.contains { if case .cannot = $0 { true } else { false } }
    }
}

/// One step of a plan.
package enum SetupStep: Hashable, Sendable {
    /// Nothing to do, and why.
    case alreadySo(String)
    case changeFile(FileChange)
    case storeSecret(SecretFile)
    /// A command that changes something.
    case run(CommandStep)
    /// A question that shows whether the set-up works; asked after the changes, and also where none were needed.
    case verify(CommandStep)
    /// What a reader should know; nothing is done.
    case note(String)
    case cannot(because: String, remedy: String)

    package var isChange: Bool {
        switch self {
        case .changeFile, .storeSecret, .run: true
        case .alreadySo, .verify, .note, .cannot: false
        }
    }
}

/// A password for the agent, in a file of its own.
package struct SecretFile: Hashable, Sendable {
    package var path: String
    package var value: String
    package var owner: UserAccount

    package init(path: String, value: String, owner: UserAccount) {
        self.path = path
        self.value = value
        self.owner = owner
    }
}

/// What a new configuration file belongs to.
package enum FileOwnershipWish: Hashable, Sendable {
    /// As the file that is replaced.
    case keep
    case set(FileOwnership)
}

/// A command or question, and the answer that it must give.
package struct CommandStep: Hashable, Sendable {
    package enum Action: Hashable, Sendable {
        case program(ProgramRun)
        case request(address: String, port: Int, path: String)
    }

    package enum Expectation: Hashable, Sendable {
        /// Exit status 0, or HTTP 200.
        case success
        /// As `success`, and every text stands in what is printed.
        case contains([String])
        /// As `success`, and what is printed is this, spaces around it aside.
        case prints(String)
    }

    /// What it is for, in a few words.
    package var title: String
    package var action: Action
    package var expectation: Expectation
    /// What to do where it fails.
    package var remedy: String
    /// Tries, `waitMilliseconds` apart: a service takes a new configuration a moment after it was told.
    package var attempts: Int
    /// A failure puts back every configuration file that this plan has changed.
    package var restoresFiles: Bool
    /// Done after the first failure, before it is tried again: an earlier run may have ended between a file and its reload.
    package var repairs: [CommandStep]

    package static let waitMilliseconds: Int64 = 250
    /// Tries of a question that follows a reload.
    package static let attemptsAfterReload = 20

    package init(
        _ title: String, _ action: Action, expect: Expectation = .success, remedy: String,
        attempts: Int = 1, restoresFiles: Bool = false, repairs: [CommandStep] = []
    ) {
        self.title = title
        self.action = action
        expectation = expect
        self.remedy = remedy
        self.attempts = attempts
        self.restoresFiles = restoresFiles
        self.repairs = repairs
    }
}
