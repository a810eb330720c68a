import World

/// A password that stands in a file.
enum ServiceSecret {
    /// The code of an error of `read`: what the file is called in the configuration.
    static let failureCode = "password_file"
    private static let bytesMax = 4_096

    /// The first line of a file, without spaces and tabs around it; nil where no file is named or there, or the line
    /// is empty. Throws `refused` with `failureCode` and a remedy where the file can't be read; `address` is for that
    /// alone.
    static func read(
        _ path: String?, _ tree: any WorldFileTree, for address: ServiceAddress
    ) throws(ServiceError) -> String? {
        guard let path else { return nil }
        do throws(FileError) {
            let bytes = try tree.contents(path, bytesMax: bytesMax)
            let line = ProcText.trimmed(bytes.prefix { $0 != 10 && $0 != 13 })
            return line.isEmpty ? nil : ProcText.string(line)
        } catch {
            guard error.errno != 2 else { return nil }
            let remedy =
                error.errno == 27
                ? "let it hold the password alone"
                : "let the agent's user read the file"
            throw .refused(address, code: failureCode, message: "\(error); \(remedy)")
        }
    }
}
