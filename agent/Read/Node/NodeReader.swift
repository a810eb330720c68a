package import Model
import Synchronization
import World

/// One source of a host's metrics. The name is the `collector` label of `node_scrape_collector_success`.
package protocol NodeReader: Sendable {
    var name: String { get }
    /// The `job` label of what it reads: `node` unless it reads a service.
    var job: String { get }
    /// What keeps the reader from a source that is there, with the remedy; of the last reading.
    var problems: [String] { get }
    /// Reads the source once. Blocks; runs on a thread for such work and never twice at the same time.
    func read(now: TimestampNS) throws(ReadError) -> [MetricFamily]
}

extension NodeReader {
    package var job: String { "node" }
    package var problems: [String] { [] }
}

/// The problems of a reader's last reading.
final class ReaderProblems: Sendable {
    /// Problems that are kept, the first.
    static let countMax = 20
    private let kept = Mutex<[String]>([])

    var all: [String] {
        get { kept.withLock { $0 } }
        set { kept.withLock { $0 = Array(newValue.prefix(Self.countMax)) } }
    }
}

extension MetricFamily {
    /// A gauge of one point.
    static func gauge(_ name: String, help: String, _ value: Double) -> MetricFamily {
        MetricFamily(name, .gauge, help: help, points: [Point(.empty, value)])
    }

    /// A counter of one point.
    static func counter(_ name: String, help: String, _ value: Double) -> MetricFamily {
        MetricFamily(name, .counter, help: help, points: [Point(.empty, value)])
    }
}

extension Labels {
    /// One label; an empty value leaves the empty set.
    static func one(_ name: String, _ value: String) -> Labels {
        Labels(sortedUnchecked: value.isEmpty ? [] : [Label(name, value)])
    }

    /// Two labels, `first` < `second` by name and neither value empty.
    static func two(
        _ first: String, _ firstValue: String, _ second: String, _ secondValue: String
    ) -> Labels {
        Labels(sortedUnchecked: [Label(first, firstValue), Label(second, secondValue)])
    }
}

extension WorldFileTree {
    /// `contents` with this target's error.
    func bytes(_ path: String) throws(ReadError) -> [UInt8] {
        do { return try contents(path) } catch { throw .file(error) }
    }

    /// The whole content; nil where there is no such file, as where the kernel lacks a protocol or a module.
    func bytesIfPresent(
        _ path: String, bytesMax: Int = 16 << 20
    ) throws(ReadError) -> [UInt8]? {
        do {
            return try contents(path, bytesMax: bytesMax)
        } catch {
            guard error.errno != 2 else { return nil }
            throw .file(error)
        }
    }

    /// The first line of a file, or 4 KiB of it, without its line end; nil where the file can't be read, as sysfs files
    /// often can't. Throws a lack of the agent's own.
    func firstLine(_ path: String) throws(ReadError) -> String? {
        do { return ProcText.string(try piece(path).prefix { $0 != 10 }) } catch {
            try error.throwIfLack()
            return nil
        }
    }

    /// The whole number in a small file; nil where there is none. Throws a lack of the agent's own.
    func number(_ path: String) throws(ReadError) -> UInt64? {
        do {
            return ProcText.fields(try piece(path)[...]).first.flatMap(ProcText.unsigned)
        } catch {
            try error.throwIfLack()
            return nil
        }
    }

    /// The whole content; nil where the file can't be read. Throws a lack of the agent's own.
    func bytesIfReadable(_ path: String, bytesMax: Int) throws(ReadError) -> [UInt8]? {
        do { return try contents(path, bytesMax: bytesMax) } catch {
            try error.throwIfLack()
            return nil
        }
    }

    /// The names in a folder in no order; none where it can't be listed. Throws a lack of the agent's own.
    func entriesIfReadable(_ path: String) throws(ReadError) -> [String] {
        do { return try list(path) } catch {
            try error.throwIfLack()
            return []
        }
    }
}

extension FileError {
    /// Throws ENOMEM, ENFILE and EMFILE: they say that the agent lacks something, and nothing of the file.
    func throwIfLack() throws(ReadError) {
        guard ![12, 23, 24].contains(errno) else { throw .file(self) }
    }
}
