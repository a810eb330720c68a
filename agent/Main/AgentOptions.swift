import AgentRead
import ArgumentParser
import Glibc
import Logging
import Model
import World
import WorldLive

/// What went wrong before the agent's work began, said in one line with its remedy.
struct StartError: Error, CustomStringConvertible {
    var description: String
    init(_ description: String) { self.description = description }
}

/// The options that commands share; a flag wins over the file.
struct AgentOptions: ParsableArguments {
    @Option(help: "Configuration file (default /etc/petrel/agent.yaml, where it exists).")
    var config: String?
    @Option(help: "Folder of the identity and the spool.")
    var stateDir: String?
    @Option(help: "Address and port of /metrics.")
    var listen: String?
    @Option(name: .customLong("path.procfs"), help: "Where procfs is mounted.")
    var procfs = "/proc"
    @Option(name: .customLong("path.sysfs"), help: "Where sysfs is mounted.")
    var sysfs = "/sys"
    @Option(name: .customLong("path.rootfs"), help: "Where the host's root is mounted.")
    var rootfs = "/"
    @Option(name: .customLong("path.udev.data"), help: "Where udev keeps its data.")
    var udevData = "/run/udev/data"

    static let standardFile = "/etc/petrel/agent.yaml"

    var paths: NodePaths {
        NodePaths(procfs: procfs, sysfs: sysfs, rootfs: rootfs, udevData: udevData)
    }

    /// The configuration: defaults, file, flags.
    func configuration() throws -> AgentConfiguration {
        let files = LiveFileTree()
        var configuration = AgentConfiguration()
        let path = config ?? Self.standardFile
        if config != nil || (try? files.status(path)) != nil {
            let text: String
            do throws(FileError) {
                text = String(decoding: try files.contents(path), as: UTF8.self)
            } catch {
                throw StartError("\(path): can't be read: \(errorText(error.errno))")
            }
            configuration = try AgentConfiguration(text: text, file: path)
        }
        if let stateDir { configuration.stateDirectory = stateDir }
        if let listen {
            guard AddressAndPort(listen) != nil else {
                throw ValidationError("--listen: expected ADDRESS:PORT, found '\(listen)'")
            }
            configuration.listen = listen
        }
        if !configuration.stateDirectory.hasPrefix("/") {
            configuration.stateDirectory = currentDirectory() + "/" + configuration.stateDirectory
        }
        return configuration
    }
}

func currentDirectory() -> String {
    guard let path = getcwd(nil, 0) else { return "/" }
    defer { free(path) }
    return String(cString: path)
}

/// The system's text for an errno.
func errorText(_ code: Int32) -> String { String(cString: strerror(code)) }

func makeLogger(level: String) -> Logger {
    var logger = Logger(label: "petrel-agent") { StreamLogHandler.standardError(label: $0) }
    logger.logLevel = Logger.Level(rawValue: level) ?? .info
    return logger
}

extension AgentConfiguration {
    var identityFolder: String { stateDirectory + "/identity" }
    var spoolFolder: String { stateDirectory + "/spool" }

    /// Makes the state folder where it is missing; says what is wrong with it.
    func prepareStateDirectory(_ files: LiveFileTree) throws {
        do throws(FileError) {
            try files.makeDirectory(stateDirectory)
            let probe = stateDirectory + "/.writable"
            try? files.remove(probe)
            try files.open(probe, .createNew).close()
            try files.remove(probe)
        } catch {
            throw StartError(
                "the state folder \(stateDirectory) is not writable (\(errorText(error.errno))): "
                    + "create it for this user or choose another with --state-dir")
        }
    }
}
