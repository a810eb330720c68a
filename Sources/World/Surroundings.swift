/// What a program finds around it when it starts: environment, standard error, where it stands.
package protocol Surroundings: Sendable {
    /// The value of an environment variable; nil where it is not set.
    func environment(_ name: String) -> String?
    /// As `environment`, and removes the variable, so that no child process inherits it.
    func takeEnvironment(_ name: String) -> String?
    var processID: Int32 { get }
    /// The effective user; 0 is root.
    var userID: UInt32 { get }
    /// Absolute; `/` where it can't be told.
    var currentDirectory: String { get }
    var standardErrorIsTerminal: Bool { get }
    /// Device and inode of standard error; nil where it is closed.
    var standardErrorIdentity: FileIdentity? { get }
    /// Writes all of `bytes` to standard error at once; what can't be written is lost.
    func writeStandardError(_ bytes: [UInt8])
    /// The socket of a service manager at `address`, in the form of `NOTIFY_SOCKET`; nil where it is no address.
    func serviceManager(at address: String) -> (any ServiceManager)?
    /// The system's text for an errno.
    func errorText(_ code: Int32) -> String
}

/// What starts and watches the program, as systemd does.
package protocol ServiceManager: Sendable {
    /// Sends lines of `NAME=value` as one message; false where it did not get through. Never waits.
    @discardableResult
    func send(_ message: String) -> Bool
}
