import AgentRead
import Model
import World
import WorldLive

/// What a log source is made from: two that are equal read alike.
enum LogSourceChoice: Hashable, Sendable {
    /// An empty folder is the machine's own journal.
    case journal(directory: String, readsFromHead: Bool)
    case files(AgentConfiguration.LogFile)
    /// The logs of all containers of a folder of Docker's; `asksNames`: their names are asked for.
    case docker(folder: String, asksNames: Bool)
}

extension AgentConfiguration {
    /// The log sources that are read, each once.
    var logSources: [LogSourceChoice] {
        let journal = LogSourceChoice.journal(
            directory: journalDirectory, readsFromHead: readsJournalFromHead)
        let asksNames = services.isOn("docker")
        return (readsJournal ? [journal] : []) + files.map { .files($0) }
            + dockerFolders(LiveFileTree()).map { .docker(folder: $0, asksNames: asksNames) }
    }
}

/// Makes log sources that go on where they were, and refine what they read.
struct LogSourceMaker: Sendable {
    let refinement: LogRefinement
    /// Shared by all files, of sources that come later too.
    private let budget = LogFileBudget()
    private let containers = DockerNames(clock: LiveClock())

    init(_ refinement: LogRefinement) { self.refinement = refinement }

    /// The sources of `choices`, which are some or all of `wanted`, and those of `positions` that belong to none of
    /// `wanted` any more. Throws where a position can't be understood.
    func make(
        _ choices: [LogSourceChoice], of wanted: [LogSourceChoice],
        at positions: [SourcePosition]
    ) throws(ReadError) -> (sources: [any LogSource], forgotten: [String]) {
        var patterns: [PathPattern] = []
        for choice in wanted {
            if let set = try files(choice) { patterns.append(set.pattern) }
        }
        // Of entries that are gone or have another `path` now.
        let others = positions.filter { position in
            position.source.hasPrefix(FileSet.source(path: ""))
                && !patterns.contains { FileSet.slot(of: position.source, $0) != nil }
        }
        var sources: [any LogSource] = []
        var files: [FileSetConfiguration] = []
        for choice in choices {
            switch choice {
            case .journal(let directory, let readsFromHead):
                sources.append(journal(directory, readsFromHead, positions))
            case .files, .docker:
                guard let configuration = try self.files(choice) else { continue }
                files.append(configuration)
                let own = positions.filter {
                    FileSet.slot(of: $0.source, configuration.pattern) != nil
                }
                sources.append(
                    try FileTailReader(
                        configuration, tree: LiveFileTree(), clock: LiveClock(),
                        positions: own + others, budget: budget))
            }
        }
        let forgotten = others.filter { position in !files.contains { $0.takes(position) } }
        return (sources.map { RefinedLogSource($0, refinement) }, forgotten.map(\.source))
    }

    /// The files of a choice; nil where it is none of files.
    private func files(_ choice: LogSourceChoice) throws(ReadError) -> FileSetConfiguration? {
        switch choice {
        case .journal: nil
        case .files(let file): try file.readerConfiguration()
        case .docker(let folder, let asksNames):
            DockerLogs.configuration(
                folder: folder, containers: asksNames ? containers : NoContainerNames())
        }
    }

    private func journal(
        _ directory: String, _ readsFromHead: Bool, _ positions: [SourcePosition]
    ) -> any LogSource {
        JournalReader(
            access: SystemdJournal(directory: directory.isEmpty ? nil : directory),
            configuration: JournalConfiguration(start: readsFromHead ? .head : .tail),
            position: positions.first { $0.source == JournalReader.sourceName },
            clock: LiveClock())
    }
}
