import World

/// Performs plans: writes files whole or not at all, runs commands, asks the service whether it worked.
package struct SetupApplier: Sendable {
    private let host: SetupHost
    /// Takes each line of progress.
    private let say: @Sendable (String) -> Void
    /// The suffix of the copy that is kept of a file before its first change.
    package static let backupSuffix = ".petrel-bak"

    package init(host: SetupHost, say: @escaping @Sendable (String) -> Void) {
        self.host = host
        self.say = say
    }

    /// Does the plan's steps in order and stops at the first that fails, with what is then to do; a step that asks for it
    /// puts back the configuration files changed so far. `cannot` steps are passed over: the caller has shown them.
    package func apply(_ plan: SetupPlan) async throws(SetupError) {
        let report = SetupReport(plan)
        var changed: [FileChange] = []
        for step in plan.steps {
            switch step {
            case .alreadySo, .note, .cannot: continue
            case .changeFile(let change):
                try await write(change, report)
                changed.append(change)
            case .storeSecret(let secret): try store(secret)
            case .run(let command), .verify(let command):
                do {
                    try await perform(command, report)
                } catch {
                    if command.restoresFiles { restore(changed) }
                    throw error
                }
            }
        }
    }

    // MARK: Files

    private func write(_ change: FileChange, _ report: SetupReport) async throws(SetupError) {
        let before = try current(change.path)
        guard before?.bytes == change.before else { throw .changedMeanwhile(path: change.path) }
        let ownership: FileOwnership
        switch (before, change.ownership) {
        case (let before?, _): ownership = before.ownership
        case (nil, .set(let wish)): ownership = wish
        // Nothing is there whose owner could be kept.
        case (nil, .keep): throw .changedMeanwhile(path: change.path)
        }
        let candidate: String
        do throws(FileError) {
            if let before { try keepCopy(of: change.path, before.bytes, ownership) }
            candidate = try host.files.createCandidate(for: change.path, change.after, ownership)
        } catch { throw .unwritable(error) }
        if let check = change.check {
            do {
                try await perform(check.standing(for: candidate), report)
            } catch {
                try? host.files.remove(candidate)
                throw error
            }
        }
        do throws(FileError) {
            try host.files.install(candidate, as: change.path)
        } catch { throw .unwritable(error) }
        say("  changed \(change.path)")
    }

    /// A file as it is now; nil where there is none.
    private func current(
        _ path: String
    ) throws(SetupError) -> (bytes: [UInt8], ownership: FileOwnership)? {
        do throws(FileError) {
            return try host.files.contentsAndOwnership(path)
        } catch {
            guard error.errno == 2 else { throw .unreadable(error) }
            return nil
        }
    }

    /// The copy from before the first change; later changes leave it alone.
    private func keepCopy(
        of path: String, _ bytes: [UInt8], _ ownership: FileOwnership
    ) throws(FileError) {
        let copy = path + Self.backupSuffix
        guard !host.exists(copy) else { return }
        try host.files.replace(copy, with: bytes, ownership)
        say("  kept    \(copy)")
    }

    private func restore(_ changes: [FileChange]) {
        for change in changes.reversed() {
            do throws(FileError) {
                guard let before = change.before else {
                    try host.files.remove(change.path)
                    say("  removed \(change.path) again")
                    continue
                }
                let ownership = try host.files.contentsAndOwnership(change.path).ownership
                try host.files.replace(change.path, with: before, ownership)
                say("  put back \(change.path) as it was")
            } catch {
                say(
                    "  could not put back \(change.path) (errno \(error.errno)): "
                        + remedy(for: change))
            }
        }
    }

    /// What to do by hand where a file could not be put back. The copy beside it is from before the first change, of
    /// this run or of an earlier one.
    private func remedy(for change: FileChange) -> String {
        guard let before = change.before else { return "remove it, it is new" }
        let copy = change.path + Self.backupSuffix
        guard let kept = try? host.files.contentsAndOwnership(copy), kept.bytes == before else {
            return "undo the change shown above by hand (\(copy) is older than the old content)"
        }
        return "its old content is \(copy)"
    }

    private func store(_ secret: SecretFile) throws(SetupError) {
        let folder = PathText.folder(of: secret.path)
        do throws(FileError) {
            try makeFolder(
                PathText.folder(of: folder), FileOwnership(user: 0, group: 0, mode: 0o755))
            try makeFolder(
                folder, FileOwnership(user: 0, group: secret.owner.group, mode: 0o750))
            try host.files.replace(
                secret.path, with: Array((secret.value + "\n").utf8),
                FileOwnership(user: secret.owner.user, group: secret.owner.group, mode: 0o600))
        } catch { throw .unwritable(error) }
        say("  stored  \(secret.path)")
    }

    private func makeFolder(
        _ path: String, _ ownership: FileOwnership
    ) throws(FileError) {
        guard !host.exists(path) else { return }
        try host.files.makeFolder(path, ownership)
    }

    // MARK: Commands

    private func perform(_ command: CommandStep, _ report: SetupReport) async throws(SetupError) {
        for attempt in 1...max(1, command.attempts) {
            let (isRight, found) = try outcome(of: command)
            if isRight {
                say("  done    \(report.masked(command.title))")
                return
            }
            guard attempt < command.attempts else {
                throw .failed(
                    step: report.masked(command.title), found: report.masked(found),
                    remedy: command.remedy)
            }
            if attempt == 1 {
                for repair in command.repairs { try await perform(repair, report) }
            }
            do {
                try await host.clock.sleep(
                    nanoseconds: CommandStep.waitMilliseconds * 1_000_000)
            } catch { throw .cancelled }
        }
    }

    /// Whether the answer is what it must be, and what it was instead.
    private func outcome(of command: CommandStep) throws(SetupError) -> (Bool, String) {
        let isFine: Bool
        let printed: String
        var found: String
        switch command.action {
        case .program(let run):
            let outcome = try host.run(run)
            isFine = outcome.status == 0
            printed = outcome.output
            let said = outcome.errors.trimmed.isEmpty ? outcome.output : outcome.errors
            found = Self.lastLines(said)
            if found.isEmpty { found = "it ended with status \(outcome.status) and said nothing" }
        case .request(let address, let port, let path):
            let answer = host.services.get(address: address, port: port, path: path)
            isFine = answer?.status == 200
            printed = answer?.body ?? ""
            found = answer.map { "HTTP status \($0.status)" } ?? "no answer"
        }
        let isRight =
            switch command.expectation {
            case .success: true
            case .contains(let texts): texts.allSatisfy { printed.contains($0) }
            case .prints(let text): printed.trimmed == text
            }
        if isFine, !isRight, case .request = command.action {
            found = "the answer lacks what it must contain"
        }
        return (isFine && isRight, found)
    }

    /// The end of what a failing program said, its structured log aside: three lines and 400 characters at most.
    private static func lastLines(_ text: String) -> String {
        let lines = text.split(whereSeparator: \.isNewline).filter { !$0.hasPrefix("{") }
        return String(lines.suffix(3).joined(separator: " / ").suffix(400))
    }
}

extension CommandStep {
    /// The same with the path of the new file put in.
    fileprivate func standing(for path: String) -> CommandStep {
        var copy = self
        if case .program(var run) = action {
            run.arguments = run.arguments.map { $0 == FileChange.candidate ? path : $0 }
            copy.action = .program(run)
        }
        return copy
    }
}
