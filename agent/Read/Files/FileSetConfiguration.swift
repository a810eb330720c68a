package import Model
package import World

/// Which files are followed, and how.
package struct FileSetConfiguration: Sendable {
    /// The path of one file, or a pattern for several.
    package var pattern: PathPattern
    /// Paths, or names where a pattern has no `/`, that are left out.
    package var exclude: [PathPattern]
    /// Nil: a file's name up to its first dot. Empty: the label is left out.
    package var serviceName: String?
    /// How each file is read; the path and service name in it are not used.
    package var tail: FileTailConfiguration
    /// How often folders are looked through for new files. Nanoseconds.
    package var lookNanoseconds: Int64
    /// For how long the position of a file that is gone is kept. Nanoseconds.
    package var forgetNanoseconds: Int64

    package init(
        path: String, exclude: [String] = [], serviceName: String? = nil,
        tail: FileTailConfiguration = FileTailConfiguration(path: ""),
        lookNanoseconds: Int64 = 5_000_000_000, forgetNanoseconds: Int64 = 86_400_000_000_000
    ) {
        pattern = PathPattern(path)
        self.exclude = exclude.map { PathPattern($0) }
        self.serviceName = serviceName
        self.tail = tail
        self.lookNanoseconds = lookNanoseconds
        self.forgetNanoseconds = forgetNanoseconds
    }

    /// Paths of the files that are there now, sorted: without those that rotation left or compressed, and what is
    /// excluded. The path itself, there or not, where it is no pattern.
    package func paths(in tree: any WorldFileTree) -> [String] { look(in: tree).paths }

    /// `paths`, at most `FileSet.namesMax`, with what was left out.
    func look(in tree: any WorldFileTree) -> PathPattern.Found {
        guard pattern.hasWildcards else { return PathPattern.Found(paths: [pattern.text]) }
        if case .dockerJSON(let containers) = tail.decoding {
            return DockerLogs.find(pattern.baseFolder, containers, in: tree)
        }
        var found = pattern.find(in: tree)
        let names = Set(found.paths)
        let paths = found.paths.filter { path in
            !RotatedFiles.isCompressed(path) && !isExcluded(path)
                && !FileSet.isRotated(path, among: names)
        }
        found.leftOut += max(0, paths.count - FileSet.namesMax)
        found.paths = Array(paths.prefix(FileSet.namesMax))
        return found
    }

    /// Whether `position`, which belongs to no entry of the configuration, is that of a file which this one follows: it
    /// had another pattern before. `FileSet` takes it over.
    package func takes(_ position: SourcePosition) -> Bool {
        guard !position.bytes.isEmpty, FileSet.slot(of: position.source, pattern) == nil,
            let path = FileSet.path(of: position)
        else { return false }
        return follows(path)
    }

    func follows(_ path: String) -> Bool {
        (path == pattern.text || pattern.matches(path)) && !isExcluded(path)
    }

    /// Whether rotation gave a name to the file at `path` by what stands behind it: those are never followed.
    private func isSuffixed(_ other: String, of path: String) -> Bool {
        RotatedFiles.folder(of: other) == RotatedFiles.folder(of: path)
            && RotatedNames.suffix(RotatedFiles.name(of: other), of: RotatedFiles.name(of: path))
                != nil
    }

    func isExcluded(_ path: String) -> Bool { exclude.contains { $0.matches(path) } }

    /// The configuration of the file at `path`.
    func tail(_ path: String) -> FileTailConfiguration {
        var configuration = tail
        configuration.path = path
        if pattern.hasWildcards, !tail.decoding.isDocker {
            configuration.isFollowed = { follows($0) && !isSuffixed($0, of: path) }
        }
        configuration.serviceName =
            serviceName ?? String(RotatedFiles.name(of: path).prefix { $0 != "." })
        return configuration
    }
}
