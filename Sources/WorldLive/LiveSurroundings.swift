import Glibc
import Synchronization
package import World

/// The process as it is.
package final class LiveSurroundings: Surroundings {
    /// Two threads must not mix their lines.
    private let errorLock = Mutex(())

    package init() {}

    package func environment(_ name: String) -> String? {
        getenv(name).map { String(cString: $0) }
    }

    package func takeEnvironment(_ name: String) -> String? {
        defer { unsetenv(name) }
        return environment(name)
    }

    package var processID: Int32 { getpid() }
    package var userID: UInt32 { geteuid() }

    package var currentDirectory: String {
        guard let path = getcwd(nil, 0) else { return "/" }
        defer { free(path) }
        return String(cString: path)
    }

    package var standardErrorIsTerminal: Bool { isatty(STDERR_FILENO) == 1 }

    package var standardErrorIdentity: FileIdentity? {
        var facts = stat()
        guard fstat(STDERR_FILENO, &facts) == 0 else { return nil }
        return FileStatus(facts).identity
    }

    package func writeStandardError(_ bytes: [UInt8]) {
        errorLock.withLock { _ in
            bytes.withUnsafeBytes { buffer in
                var done = 0
                while done < buffer.count, let start = buffer.baseAddress {
                    let put = write(STDERR_FILENO, start + done, buffer.count - done)
                    if put > 0 { done += put } else if put == 0 || errno != EINTR { return }
                }
            }
        }
    }

    package func serviceManager(at address: String) -> (any ServiceManager)? {
        LiveServiceManager(address: address)
    }

    package func errorText(_ code: Int32) -> String { String(cString: strerror(code)) }
}
