import Exposition
package import Model
import Synchronization
package import World

/// The metrics that programs leave in files, `*.prom` in one or more folders, in the Prometheus text format.
///
/// A file with a fault is left out whole and the others stand. Of a family whose help differs between files the first
/// counts, of two series with the same labels the first too. A FIFO is a file that can't be read.
/// Source: node_exporter 1.12 `textfile.go`; client_golang 1.23 `Registry.Gather` for what is there twice.
package struct TextFileReader: NodeReader {
    /// Bounds; what is past one is an error of its file.
    package struct Limits: Hashable, Sendable {
        /// Folders that one pattern stands for.
        package var foldersMax = 100
        /// Files of one folder, the first by name.
        package var filesMax = 1_000
        /// Bytes of one file.
        package var fileBytesMax = 4 << 20
        /// Bytes of all files.
        package var bytesMax = 64 << 20
        /// Samples of all files.
        package var samplesMax = 50_000

        package init() {}
    }

    package let name = "textfile"
    private let tree: any WorldFileTree
    private let directories: [String]
    private let mayBeAbsent: Bool
    private let limits: Limits
    private let faults: TextFileFaults

    /// `directories` are node_exporter's `--collector.textfile.directory`, patterns with `*`, `?` and `[…]` among them.
    /// With `mayBeAbsent` one that is not there is no fault. `report` is told each fault once, until it is mended: a folder or a file that can't be read or is malformed, and
    /// what is left out of a file because it is there twice.
    package init(
        tree: any WorldFileTree, directories: [String], mayBeAbsent: Bool = false,
        limits: Limits = Limits(), report: @escaping @Sendable (ReadError) -> Void = { _ in }
    ) {
        self.tree = tree
        self.directories = directories.filter { !$0.isEmpty }
        self.mayBeAbsent = mayBeAbsent
        self.limits = limits
        faults = TextFileFaults(report)
    }

    /// The families of the files, when each was last changed (whole seconds since the epoch), and whether one had a fault.
    /// Throws nothing: faults are `node_textfile_scrape_error` and `report`.
    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        var merge = TextFileMerge()
        var errors: [ReadError] = []
        var times = MetricFamily(
            TextFileMerge.timeName, .gauge,
            help: "Unixtime mtime of textfiles successfully read.")
        var samplesLeft = limits.samplesMax
        var bytesLeft = limits.bytesMax
        for path in files(&errors) {
            do throws(ReadError) {
                let (bytes, modified) = try content(path, bytesLeft)
                bytesLeft -= bytes.count
                let file = try TextFileFamilies(bytes, path: path, samplesMax: samplesLeft)
                samplesLeft -= file.sampleCount
                errors += merge.add(file.families, from: path)
                times.points.append(
                    .init(.one("file", path), Double(modified.rawValue / 1_000_000_000)))
            } catch { errors.append(error) }
        }
        var families = merge.families()
        faults.update(errors + merge.leftOut)
        if !times.points.isEmpty { families.append(times) }
        families.append(
            .gauge(
                TextFileMerge.errorName,
                help: "1 if there was an error opening or reading a file, 0 otherwise",
                errors.isEmpty ? 0 : 1))
        return families
    }

    /// The paths of all files, folders in their order, each once.
    private func files(_ errors: inout [ReadError]) -> [String] {
        let folders = TextFileFolders(tree: tree, countMax: limits.foldersMax)
        var files: [String] = []
        var seen: Set<String> = []
        for directory in directories {
            var matching = folders.matching(directory)
            if matching.count > limits.foldersMax {
                matching.removeLast()
                errors.append(
                    .malformed(
                        path: directory, detail: "more than \(limits.foldersMax) folders fit"))
            }
            for folder in matching where seen.insert(folder).inserted {
                do throws(FileError) {
                    let names = try tree.list(folder).filter { $0.hasSuffix(".prom") }
                        .sorted(by: bytesPrecede)
                    if names.count > limits.filesMax {
                        errors.append(
                            .malformed(
                                path: folder,
                                detail: "\(names.count) files, only the first "
                                    + "\(limits.filesMax) are read"))
                    }
                    files += names.prefix(limits.filesMax).map {
                        TextFileFolders.joined(folder, $0)
                    }
                } catch  where mayBeAbsent && error.errno == 2 {
                    continue
                } catch { errors.append(.file(error)) }
            }
        }
        return files
    }

    private func content(
        _ path: String, _ bytesLeft: Int
    ) throws(ReadError) -> (bytes: [UInt8], modified: TimestampNS) {
        let bytesMax = min(limits.fileBytesMax, bytesLeft)
        do throws(FileError) {
            let file = try tree.open(path, .read)
            defer { file.close() }
            let status = try file.status()
            // EISDIR and EFBIG, before anything is read.
            guard !status.isDirectory else {
                throw FileError(operation: "read", path: path, errno: 21)
            }
            guard status.size <= Int64(bytesMax) else {
                throw FileError(operation: "read", path: path, errno: 27)
            }
            return (try file.contents(path, bytesMax: bytesMax), status.modified)
        } catch {
            guard error.errno == 27 else { throw .file(error) }
            throw .malformed(
                path: path,
                detail: bytesMax < limits.fileBytesMax
                    ? "more than \(limits.bytesMax) bytes with the files before it"
                    : "more than \(bytesMax) bytes")
        }
    }
}

/// Which faults have been told.
private final class TextFileFaults: Sendable {
    private let told = Mutex<Set<ReadError>>([])
    private let report: @Sendable (ReadError) -> Void

    init(_ report: @escaping @Sendable (ReadError) -> Void) { self.report = report }

    /// Tells those of `faults` that were not there the time before.
    func update(_ faults: [ReadError]) {
        let fresh = told.withLock { told in
            let now = Set(faults)
            defer { told = now }
            return faults.filter { !told.contains($0) }
        }
        for fault in fresh { report(fault) }
    }
}

/// The families of several files as one exposition.
struct TextFileMerge {
    static let timeName = "node_textfile_mtime_seconds"
    static let errorName = "node_textfile_scrape_error"

    private var parts: [(path: String, family: TextFileFamily)] = []
    private var paths: [String: [String]] = [:]
    private var helps: [String: (text: String, isInconsistent: Bool)] = [:]
    /// What `families` left out because it was there before.
    private(set) var leftOut: [ReadError] = []

    /// Takes the families of a file. Returns an error for each whose help is not that of the files before; it is not taken.
    mutating func add(_ families: [TextFileFamily], from path: String) -> [ReadError] {
        var errors: [ReadError] = []
        for family in families {
            if let known = helps[family.name] {
                let isOther = family.help.map { $0 != known.text } ?? false
                guard !isOther, !known.isInconsistent else {
                    // Once inconsistent, no further file is taken, whatever its help.
                    helps[family.name] = (known.text, true)
                    errors.append(
                        .malformed(
                            path: path,
                            detail: "the help of \(family.name) differs from that in "
                                + "\(paths[family.name]?.first ?? "another file")"))
                    continue
                }
            } else if let help = family.help {
                helps[family.name] = (help, false)
            }
            paths[family.name, default: []].append(path)
            parts.append((path, family))
        }
        return errors
    }

    /// All that was taken, a family once, a series once.
    mutating func families() -> [MetricFamily] {
        var families: [MetricFamily] = []
        var indexes: [String: Int] = [:]
        var seen: [Set<Labels>] = []
        for (path, part) in parts {
            let help =
                part.help
                ?? "Metric read from " + (paths[part.name] ?? []).joined(separator: ", ")
            let type = part.type?.metricType ?? .unknown
            let index = indexes[part.name] ?? families.count
            if let reason = conflict(part.name, type, help, families, indexes) {
                leftOut.append(.malformed(path: path, detail: "\(part.name): \(reason)"))
                continue
            }
            if index == families.count {
                indexes[part.name] = index
                families.append(MetricFamily(part.name, type, help: help))
                seen.append([])
            }
            var twice = 0
            for point in part.points {
                if seen[index].insert(point.labels).inserted {
                    families[index].points.append(point)
                } else {
                    twice += 1
                }
            }
            for composite in part.composites {
                if seen[index].insert(composite.labels).inserted {
                    families[index].points += part.points(of: composite)
                } else {
                    twice += 1
                }
            }
            guard twice > 0 else { continue }
            leftOut.append(
                .malformed(
                    path: path,
                    detail: "\(twice) series of \(part.name) are there already and left out"))
        }
        return families
    }

    /// Why a family can't stand with those before it; nil where it can.
    /// Source: client_golang 1.23 `processMetric`, `checkSuffixCollisions`.
    private func conflict(
        _ name: String, _ type: MetricType, _ help: String, _ families: [MetricFamily],
        _ indexes: [String: Int]
    ) -> String? {
        guard name != Self.timeName, name != Self.errorName else { return "this is the agent's" }
        if let index = indexes[name] {
            let known = families[index].metadata
            if known.help != help { return "another help than in a file before" }
            if known.type != type { return "another type than in a file before" }
            return nil
        }
        for suffix in ["_count", "_sum", "_bucket"] {
            if name.hasSuffix(suffix), let index = indexes[String(name.dropLast(suffix.count))],
                Self.owns(families[index].metadata.type, suffix)
            {
                return "a histogram or summary before has it"
            }
            if Self.owns(type, suffix), indexes[name + suffix] != nil {
                return "\(name)\(suffix) is another family"
            }
        }
        return nil
    }

    /// Whether families of a type have samples with the suffix.
    private static func owns(_ type: MetricType, _ suffix: String) -> Bool {
        type == .histogram || (type == .summary && suffix != "_bucket")
    }
}
