import Model
import Startup
import Synchronization
import World

/// A process as a test wants it; keeps what it writes.
final class FakeSurroundings: Surroundings {
    let processID: Int32 = 42
    let userID: UInt32 = 1000
    let currentDirectory = "/home/me"
    let standardErrorIsTerminal: Bool
    let standardErrorIdentity: FileIdentity?
    private let variables: Mutex<[String: String]>
    private let written = Mutex<[UInt8]>([])
    let manager = FakeManager()

    init(
        _ variables: [String: String] = [:], isTerminal: Bool = false,
        identity: FileIdentity? = FileIdentity(device: 8, inode: 77)
    ) {
        self.variables = Mutex(variables)
        standardErrorIsTerminal = isTerminal
        standardErrorIdentity = identity
    }

    var text: String { written.withLock { String(decoding: $0, as: UTF8.self) } }

    func environment(_ name: String) -> String? { variables.withLock { $0[name] } }
    func takeEnvironment(_ name: String) -> String? {
        variables.withLock { $0.removeValue(forKey: name) }
    }
    func writeStandardError(_ bytes: [UInt8]) { written.withLock { $0 += bytes } }
    func serviceManager(at address: String) -> (any ServiceManager)? {
        address.hasPrefix("/") || address.hasPrefix("@") ? manager : nil
    }
    func errorText(_ code: Int32) -> String { "errno \(code)" }
}

/// Keeps what it is told.
final class FakeManager: ServiceManager {
    private let sent = Mutex<[String]>([])
    var messages: [String] { sent.withLock { $0 } }
    func send(_ message: String) -> Bool {
        sent.withLock { $0.append(message) }
        return true
    }
}

/// A clock whose sleeps return at once and move it on.
final class SteppingClock: WorldClock {
    private let time = Mutex<Int64>(0)
    var now: TimestampNS { TimestampNS(1_767_323_045_006_000_000) }
    var monotonicNanoseconds: Int64 { time.withLock { $0 } }
    func sleep(nanoseconds: Int64) async throws {
        try Task.checkCancellation()
        time.withLock { $0 += nanoseconds }
        await Task.yield()
    }
}
