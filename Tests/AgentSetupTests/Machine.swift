import AgentSetup
import Simulation
import Synchronization
import World

/// A machine in memory: files with owners, programs that answer by a script, services on loopback.
final class Machine: OwnedFileTree, ProgramRunner, LocalServices {
    struct Entry {
        var bytes: [UInt8]
        var ownership: FileOwnership
    }

    struct State {
        var files: [String: Entry] = [:]
        var folders: [String: FileOwnership] = [:]
        var links: [String: String] = [:]
        var runs: [ProgramRun] = []
        /// `operation path` and the errno that it fails with.
        var failures: [String: Int32] = [:]
        var accounts = [
            UserAccount(name: "root", user: 0, group: 0),
            UserAccount(name: "postgres", user: 101, group: 102),
            UserAccount(name: "petrel-agent", user: 901, group: 902),
        ]
        var programs: Set<String> = []
        var answers: @Sendable (ProgramRun) -> ProgramOutcome = { _ in ProgramOutcome(status: 0) }
        var pages: [String: LocalAnswer] = [:]
    }

    let state = Mutex(State())

    init(_ files: [String: String] = [:], programs: Set<String> = []) {
        for (path, text) in files { put(path, text) }
        state.withLock { $0.programs = programs }
    }

    var host: SetupHost { host(isRoot: true) }

    func host(isRoot: Bool) -> SetupHost {
        SetupHost(
            files: self, programs: self, services: self, random: SeededRandom(seed: 7),
            clock: VirtualClock(), isRoot: isRoot)
    }

    func put(_ path: String, _ text: String, _ ownership: FileOwnership? = nil) {
        state.withLock {
            $0.files[path] = Entry(
                bytes: Array(text.utf8),
                ownership: ownership ?? FileOwnership(user: 101, group: 102, mode: 0o640))
        }
    }

    func text(_ path: String) -> String? {
        state.withLock { $0.files[path].map { String(decoding: $0.bytes, as: UTF8.self) } }
    }

    var paths: Set<String> { state.withLock { Set($0.files.keys) } }
    var runs: [ProgramRun] { state.withLock { $0.runs } }

    func answer(_ answers: @escaping @Sendable (ProgramRun) -> ProgramOutcome) {
        state.withLock { $0.answers = answers }
    }

    /// Plans and applies; returns what was said.
    @discardableResult
    func setUp(_ service: SetupService) async throws -> [String] {
        let said = Lines()
        let plan = try service.plan(host)
        try await SetupApplier(host: host) { said.add($0) }.apply(plan)
        return said.all
    }

    // MARK: Files

    private func check(_ operation: String, _ path: String) throws(FileError) {
        if let errno = state.withLock({ $0.failures[operation + " " + path] }) {
            throw FileError(operation: operation, path: path, errno: errno)
        }
    }

    func open(_ path: String, _ mode: FileMode) throws(FileError) -> any WorldFile {
        try check("open", path)
        let isThere = state.withLock { $0.files[path] != nil }
        switch mode {
        case .createNew:
            guard !isThere else { throw FileError(operation: "open", path: path, errno: 17) }
            state.withLock {
                $0.files[path] = Entry(
                    bytes: [], ownership: FileOwnership(user: 0, group: 0, mode: 0o600))
            }
        case .read, .readWrite:
            guard isThere else { throw FileError(operation: "open", path: path, errno: 2) }
        }
        return MachineFile(self, path)
    }

    func list(_ path: String) throws(FileError) -> [String] {
        let names = state.withLock { state in
            Set(
                state.files.keys.filter { $0.hasPrefix(path + "/") }.map {
                    String($0.dropFirst(path.count + 1).prefix { $0 != "/" })
                })
        }
        guard !names.isEmpty else { throw FileError(operation: "opendir", path: path, errno: 2) }
        return Array(names)
    }

    func status(_ path: String) throws(FileError) -> FileStatus {
        let found: (size: Int, isFolder: Bool)? = state.withLock { state in
            if let file = state.files[path] { return (file.bytes.count, false) }
            let isFolder =
                state.folders[path] != nil || state.files.keys.contains { $0.hasPrefix(path + "/") }
            return isFolder ? (0, true) : nil
        }
        guard let found else { throw FileError(operation: "stat", path: path, errno: 2) }
        return FileStatus(
            identity: FileIdentity(device: 1, inode: 1), size: Int64(found.size),
            isDirectory: found.isFolder)
    }

    func rename(_ from: String, to: String) throws(FileError) {
        try check("rename", to)
        let isThere = state.withLock { state in
            guard let entry = state.files.removeValue(forKey: from) else { return false }
            state.files[to] = entry
            return true
        }
        guard isThere else { throw FileError(operation: "rename", path: from, errno: 2) }
    }

    func remove(_ path: String) throws(FileError) {
        guard state.withLock({ $0.files.removeValue(forKey: path) }) != nil else {
            throw FileError(operation: "remove", path: path, errno: 2)
        }
    }

    func makeDirectory(_ path: String) throws(FileError) {
        state.withLock { $0.folders[path] = FileOwnership(user: 0, group: 0, mode: 0o700) }
    }

    func synchronizeDirectory(_ path: String) throws(FileError) {}

    func readLink(_ path: String) throws(FileError) -> String {
        guard let target = state.withLock({ $0.links[path] }) else {
            throw FileError(operation: "readlink", path: path, errno: 22)
        }
        return target
    }

    func freeBytes(_ path: String) throws(FileError) -> Int64 { 1 << 40 }

    func ownership(_ path: String) throws(FileError) -> FileOwnership {
        guard
            let found = state.withLock({ $0.files[path]?.ownership ?? $0.folders[path] })
        else { throw FileError(operation: "stat", path: path, errno: 2) }
        return found
    }

    func contentsAndOwnership(
        _ path: String, bytesMax: Int
    ) throws(FileError) -> (bytes: [UInt8], ownership: FileOwnership) {
        try check("open", path)
        let (entry, isLink) = state.withLock { ($0.files[path], $0.links[path] != nil) }
        guard !isLink else { throw FileError(operation: "open", path: path, errno: 40) }
        guard let entry else { throw FileError(operation: "open", path: path, errno: 2) }
        guard entry.bytes.count <= bytesMax else {
            throw FileError(operation: "read", path: path, errno: 27)
        }
        return (entry.bytes, entry.ownership)
    }

    func create(
        _ path: String, _ bytes: [UInt8], _ ownership: FileOwnership
    ) throws(FileError) {
        let file = try open(path, .createNew)
        try file.write(bytes, at: 0)
        try check("chown", path)
        state.withLock { $0.files[path]?.ownership = ownership }
    }

    func makeFolder(_ path: String, _ ownership: FileOwnership) throws(FileError) {
        state.withLock { $0.folders[path] = ownership }
    }

    func account(named name: String) -> UserAccount? {
        state.withLock { $0.accounts.first { $0.name == name } }
    }

    func account(number: UInt32) -> UserAccount? {
        state.withLock { $0.accounts.first { $0.user == number } }
    }

    // MARK: Programs and services

    func run(_ run: ProgramRun) throws(ProgramError) -> ProgramOutcome {
        let answers = state.withLock { state in
            state.runs.append(run)
            return state.answers
        }
        return answers(run)
    }

    func locate(_ name: String) -> String? {
        state.withLock { $0.programs.contains(name) ? "/usr/bin/" + name : nil }
    }

    func get(address: String, port: Int, path: String) -> LocalAnswer? {
        state.withLock { $0.pages["\(address):\(port)\(path)"] }
    }
}

private final class MachineFile: WorldFile {
    private let machine: Machine
    private let path: String

    init(_ machine: Machine, _ path: String) {
        self.machine = machine
        self.path = path
    }

    func read(at offset: Int64, count: Int) throws(FileError) -> [UInt8] {
        let bytes = machine.state.withLock { $0.files[path]?.bytes ?? [] }
        return Array(bytes.dropFirst(Int(offset)).prefix(count))
    }

    func write(_ bytes: [UInt8], at offset: Int64) throws(FileError) {
        machine.state.withLock { $0.files[path]?.bytes = bytes }
    }

    func synchronize() throws(FileError) {}
    func truncate(to size: Int64) throws(FileError) {}
    func allocate(size: Int64) throws(FileError) {}
    func status() throws(FileError) -> FileStatus { try machine.status(path) }
    func close() {}
}

/// Lines from several threads.
final class Lines: Sendable {
    private let lines = Mutex<[String]>([])
    func add(_ line: String) { lines.withLock { $0.append(line) } }
    var all: [String] { lines.withLock { $0 } }
}

extension SetupPlan {
    /// `ok`, `change`, … : the kinds of the steps in order.
    var kinds: [String] {
        steps.map { step in
            switch step {
            case .alreadySo: "ok"
            case .changeFile: "change"
            case .storeSecret: "secret"
            case .run: "run"
            case .verify: "verify"
            case .note: "note"
            case .cannot: "cannot"
            }
        }
    }

    var changes: [FileChange] {
        steps.compactMap { if case .changeFile(let change) = $0 { change } else { nil } }
    }

    var report: String { SetupReport(self).lines.joined(separator: "\n") }
}

extension ProgramRun {
    var inputText: String { String(decoding: input, as: UTF8.self) }
}
