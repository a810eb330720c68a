package import World

/// Why a reader could not read its source.
package enum ReadError: Error, Hashable, Sendable, CustomStringConvertible {
    /// A file could not be read.
    case file(FileError)
    /// A file's content is not what the kernel or the format promises.
    case malformed(path: String, detail: String)
    /// A system call failed.
    case system(operation: String, errno: Int32)
    /// A call into libsystemd failed; `errno` is positive.
    case journal(operation: String, errno: Int32)
    /// There is no journal that can be read here; the text says what to do.
    case journalUnavailable(detail: String)
    /// A stored position can't be understood.
    case position(source: String, detail: String)
    /// The reader did not return within its deadline, or has not returned since an earlier one.
    case overdue(reader: String)

    package var description: String {
        switch self {
        case .file(let error): "\(error); check the path and the agent's rights"
        case .malformed(let path, let detail): "\(path): \(detail)"
        case .system(let operation, let errno): "\(operation): errno \(errno)"
        case .journal(let operation, let errno): "journal: \(operation): errno \(errno)"
        case .journalUnavailable(let detail): "journal: \(detail)"
        case .position(let source, let detail): "stored position of \(source): \(detail)"
        case .overdue(let reader): "reader \(reader) has not returned within its deadline"
        }
    }
}
