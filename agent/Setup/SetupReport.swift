import World

/// A plan as text. What the plan calls secret is never in it.
package struct SetupReport: Sendable {
    private let plan: SetupPlan
    private static let indent = "          "

    package init(_ plan: SetupPlan) { self.plan = plan }

    var subject: String { plan.subject }

    /// The whole plan, a line an element.
    package var lines: [String] {
        [plan.subject] + plan.steps.flatMap { self.lines(of: $0) } + [summary]
    }

    /// One line: what this service lacks.
    package var oneLine: String {
        let missing = missing
        return "\(plan.subject): "
            + (missing.isEmpty
                ? plan.hasChanges ? "to be reloaded" : "already set up"
                : missing.joined(separator: "; "))
    }

    /// What this service lacks: the lines of its files, what is to be run, and what can't be done.
    var missing: [String] {
        plan.steps.compactMap { step in
            switch step {
            case .changeFile(let change): "\(change.path) lacks `\(change.missing)`"
            case .storeSecret(let secret): "\(secret.path) lacks the password"
            // A reload alone is no lack: it follows from another step.
            case .run(let command): Self.statements(command).map { "to run: " + $0 }
            case .cannot(let because, let remedy): "\(because): \(remedy)"
            case .alreadySo, .verify, .note: nil
            }
        }.map(masked)
    }

    /// Shorter texts would be found inside other words; whatever prints one says so itself.
    private static let secretLengthMin = 4

    package func masked(_ text: String) -> String {
        let secrets = plan.secrets.filter { $0.count >= Self.secretLengthMin }
        return secrets.sorted { $0.count > $1.count }.reduce(text) { text, secret in
            text.replacing(secret, with: "(hidden)")
        }
    }

    /// One step as it is planned.
    package func lines(of step: SetupStep) -> [String] {
        let lines: [String]
        switch step {
        case .alreadySo(let fact): lines = entry("ok", fact)
        case .changeFile(let change): lines = self.lines(of: change)
        case .storeSecret(let secret):
            lines = entry(
                "secret",
                "\(secret.path): the password, readable by \(secret.owner.name) alone (mode 0600)")
        case .run(let command): lines = self.lines(of: command, word: "run")
        case .verify(let command): lines = entry("verify", command.title)
        case .note(let text): lines = entry("note", text)
        case .cannot(let because, let remedy):
            lines = entry("cannot", because) + [Self.indent + "do: " + remedy]
        }
        return lines.map(masked)
    }

    private var summary: String {
        if plan.isBlocked {
            return plan.hasChanges
                ? "=> changes to make, and something to do by hand (see 'cannot')"
                : "=> something to do by hand (see 'cannot')"
        }
        return plan.hasChanges ? "=> changes to make" : "=> already set up"
    }

    private func entry(_ word: String, _ text: String) -> [String] {
        let pieces = text.split(separator: "\n", omittingEmptySubsequences: false)
        let padded = word + String(repeating: " ", count: max(1, 8 - word.count))
        return ["  " + padded + pieces[0]] + pieces.dropFirst().map { Self.indent + $0 }
    }

    /// Only the lines that change: those beside them may hold other people's secrets.
    private func lines(of change: FileChange) -> [String] {
        var lines = entry(
            change.before == nil ? "create" : "change", "\(change.path): \(change.why)")
        if let shown = change.shown { return lines + shown.map { Self.indent + $0 } }
        let before = TextLines(change.before ?? [])
        for edit in change.edits.sorted(by: { $0.line < $1.line }) {
            lines.append(
                Self.indent
                    + (edit.removed == 0
                        ? "@@ before line \(edit.line + 1) @@" : "@@ line \(edit.line + 1) @@"))
            for index in edit.line..<(edit.line + edit.removed) {
                lines.append(Self.indent + "-" + before.text(index))
            }
            lines += edit.inserted.map { Self.indent + "+" + $0 }
        }
        if let check = change.check {
            lines.append(Self.indent + "only if this accepts it: " + Self.text(check.action))
        }
        return lines
    }

    private func lines(of command: CommandStep, word: String) -> [String] {
        var lines = entry(word, command.title)
        lines.append(Self.indent + "$ " + Self.text(command.action))
        if case .program(let run) = command.action, !run.input.isEmpty {
            let text = String(decoding: run.input, as: UTF8.self)
            lines += text.split(separator: "\n").map { Self.indent + "> " + $0 }
        }
        return lines
    }

    private static func statements(_ command: CommandStep) -> String? {
        guard case .program(let run) = command.action, !run.input.isEmpty else { return nil }
        let lines = String(decoding: run.input, as: UTF8.self).split(separator: "\n")
        return lines.map { $0.hasSuffix(";") ? $0.dropLast() : $0 }.joined(separator: "; ")
    }

    /// A command as one would type it.
    static func text(_ action: CommandStep.Action) -> String {
        switch action {
        case .program(let run):
            return run.arguments.map { argument in
                let isPlain =
                    !argument.isEmpty
                    && argument.allSatisfy {
                        $0.isLetter || $0.isNumber || "-_./:=,@%+".contains($0)
                    }
                return isPlain ? argument : "'" + argument.replacing("'", with: "'\\''") + "'"
            }.joined(separator: " ")
        case .request(let address, let port, let path):
            let host = address.contains(":") ? "[\(address)]" : address
            return "GET http://\(host):\(port)\(path)"
        }
    }
}
