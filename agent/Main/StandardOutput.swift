import Glibc
import Startup
import WorldLive

/// Where a command's answer goes.
enum StandardOutput {
    /// Writes all of `bytes`. Throws where the reader is gone or the disk is full.
    static func write(_ bytes: [UInt8]) throws(StartError) { try write(bytes, to: STDOUT_FILENO) }

    /// Writes a line to the standard error; one that nobody takes is lost.
    static func remark(_ line: String) {
        try? write(Array((line + "\n").utf8), to: STDERR_FILENO)
    }

    private static func write(_ bytes: [UInt8], to descriptor: Int32) throws(StartError) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes {
                Glibc.write(descriptor, $0.baseAddress, $0.count)
            }
            guard count > 0 || errno == EINTR else {
                throw StartError("standard output: \(LiveSurroundings().errorText(errno))")
            }
            rest = rest.dropFirst(max(count, 0))
        }
    }
}
