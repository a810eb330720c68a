package import World

/// The files that a program needs before its work begins.
package struct StartFiles: Sendable {
    package let files: any WorldFileTree
    package let surroundings: any Surroundings

    package init(files: any WorldFileTree, surroundings: any Surroundings) {
        self.files = files
        self.surroundings = surroundings
    }

    /// The text of a file, with `U+FFFD` for what is not UTF-8. Throws `StartError` with path and reason.
    package func text(_ path: String) throws(StartError) -> String {
        do {
            return String(decoding: try files.contents(path), as: UTF8.self)
        } catch {
            throw StartError("\(path): can't be read: \(surroundings.errorText(error.errno))")
        }
    }

    /// The configuration file of a program: the one that was named, which must be there, or else the standard one where
    /// it exists; nil where only defaults hold.
    package func configurationText(
        named: String?, standard: String
    ) throws(StartError) -> (path: String, text: String)? {
        let path = named ?? standard
        guard named != nil || (try? files.status(path)) != nil else { return nil }
        return (path, try text(path))
    }

    /// `path`, or where it is relative, `path` under the current directory.
    package func absolute(_ path: String) -> String {
        path.hasPrefix("/") ? path : surroundings.currentDirectory + "/" + path
    }

    /// Makes a state folder where it is missing and tries to write in it. `flag` names the option that chooses another.
    package func prepareStateFolder(_ folder: String, flag: String) throws(StartError) {
        do throws(FileError) {
            try files.makeDirectory(folder)
            let probe = folder + "/.writable"
            try? files.remove(probe)
            try files.open(probe, .createNew).close()
            try files.remove(probe)
        } catch {
            let reason = surroundings.errorText(error.errno)
            throw StartError(
                "the state folder \(folder) is not writable (\(reason)): "
                    + "create it for this user or choose another with \(flag)")
        }
    }
}
