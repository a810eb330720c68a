package import World

/// Why a set-up could not be planned or did not work out. A message names the thing and what to do.
package enum SetupError: Error, Hashable, Sendable, CustomStringConvertible {
    /// A configuration file can't be read.
    case unreadable(FileError)
    /// A file could not be written; what was there before still is.
    case unwritable(FileError)
    /// A file is not what it was when the plan was made.
    case changedMeanwhile(path: String)
    /// Files include one another deeper than the bound.
    case includesTooDeep(path: String, limit: Int)
    /// The service's configuration is not where it is looked for.
    case notFound(service: String, places: [String], remedy: String)
    /// The command line names something that does not exist or fits several.
    case unclear(what: String, choices: [String], remedy: String)
    /// A program could not be run to its end.
    case program(ProgramError)
    /// A step did not give what it must.
    case failed(step: String, found: String, remedy: String)
    case cancelled
    /// Only root may write other programs' configuration.
    case needsRoot(service: String)
    /// There is nobody to ask.
    case noTerminal
    /// The answer was no.
    case declined

    package var description: String {
        switch self {
        case .unreadable(let error):
            "can't read \(error.path) (\(reason(error.errno))): run this as root, or check the path"
        case .unwritable(let error):
            "can't \(error.operation) \(error.path) (\(reason(error.errno))): check the folder's "
                + "owner and free space; where the file is mounted by itself, edit it by hand"
        case .changedMeanwhile(let path):
            "\(path) was changed by somebody else meanwhile: nothing was written to it; run this again"
        case .includesTooDeep(let path, let limit):
            "\(path): files include one another more than \(limit) levels deep: mend the include lines"
        case .notFound(let service, let places, let remedy):
            "no \(service) configuration found in \(places.joined(separator: ", ")): \(remedy)"
        case .unclear(let what, let choices, let remedy):
            "\(what): there \(choices.count == 1 ? "is" : "are") "
                + "\(choices.isEmpty ? "none" : choices.joined(separator: ", ")): \(remedy)"
        case .program(.timedOut(let program, let seconds)):
            "\(program) did not end within \(seconds) s and was stopped: see why it hangs, run this again"
        case .program(.cannotStart(let program, let errno)):
            "\(program) can't be started (\(reason(errno))): check that it is installed"
        case .failed(let step, let found, let remedy): "\(step): \(found): \(remedy)"
        case .needsRoot(let service):
            "setup writes other programs' configuration, so it needs root: sudo petrel-agent setup "
                + "\(service), or add --dry-run to only look"
        case .noTerminal:
            "nothing was changed: there is no terminal to ask at; add --yes to apply this plan"
        case .declined: "nothing was changed"
        case .cancelled: "stopped before the end; run this again, it goes on where it was"
        }
    }

    /// The usual reasons in words, without asking the C library.
    private func reason(_ errno: Int32) -> String {
        switch errno {
        case 1: "operation not permitted"
        case 2: "no such file or directory"
        case 13: "permission denied"
        case 16: "device or resource busy"
        case 27: "file too large"
        case 28: "no space left on device"
        case 30: "read-only file system"
        case 40: "too many levels of symbolic links"
        default: "errno \(errno)"
        }
    }
}
