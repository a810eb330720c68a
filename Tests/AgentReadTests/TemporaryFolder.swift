import Glibc

/// A folder of a test's own.
struct TemporaryFolder: Sendable {
    let path: String

    struct Failure: Error {
        var operation: String
    }

    /// `purpose` stands in the folder's name.
    init(_ purpose: String) throws {
        let root = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
        // mkdtemp(3) asks for six of these at the end.
        let place = "\(root)/petrel-\(purpose)-" + String(repeating: "X", count: 6)
        var template = Array(place.utf8CString)
        guard mkdtemp(&template) != nil else { throw Failure(operation: "mkdtemp \(place)") }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Makes a file in this folder with a time of its own; its path.
    func write(_ name: String, _ text: String, modifiedSeconds: Int) throws -> String {
        let file = path + "/" + name
        let descriptor = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0o644)
        guard descriptor >= 0 else { throw Failure(operation: "open \(file)") }
        defer { close(descriptor) }
        let bytes = Array(text.utf8)
        guard Glibc.write(descriptor, bytes, bytes.count) == bytes.count else {
            throw Failure(operation: "write \(file)")
        }
        let times = [
            timespec(tv_sec: modifiedSeconds, tv_nsec: 0),
            timespec(tv_sec: modifiedSeconds, tv_nsec: 0),
        ]
        guard futimens(descriptor, times) == 0 else {
            throw Failure(operation: "futimens \(file)")
        }
        return file
    }

    /// A listening Unix socket of this name in the folder; the caller closes it.
    func listener(_ name: String, backlog: Int32) throws -> Int32 {
        let listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        guard listener >= 0 else { throw Failure(operation: "socket") }
        var place = sockaddr_un()
        place.sun_family = sa_family_t(AF_UNIX)
        let file = path + "/" + name
        let fits = withUnsafeMutableBytes(of: &place.sun_path) { bytes in
            guard file.utf8.count < bytes.count else { return false }
            bytes.copyBytes(from: file.utf8)
            return true
        }
        let size = socklen_t(MemoryLayout<sockaddr_un>.size)
        let code = withUnsafePointer(to: &place) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(listener, $0, size) }
        }
        guard fits, code == 0, listen(listener, backlog) == 0 else {
            close(listener)
            throw Failure(operation: "listen at \(file)")
        }
        return listener
    }

    func remove() { _ = system("rm -rf '\(path)'") }
}
