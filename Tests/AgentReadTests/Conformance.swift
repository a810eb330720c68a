import AgentRead
import Exposition
import Glibc
import Model
import Testing
import World

/// The node_exporter fixtures: `$PETREL_CONFORMANCE/node_exporter`, unpacked once into a folder of the system's
/// temporary ones.
enum Conformance {
    static let folder: String = {
        if let value = getenv("PETREL_CONFORMANCE") { return String(cString: value) }
        return "../shared/conformance"
    }()

    static let isPresent = access(folder + "/node_exporter/fixtures.tgz", R_OK) == 0

    /// The folder that holds `proc`, `sys` and `udev`; nil where unpacking failed.
    static let fixtures: String? = unpacked.map { $0.path + "/collector/fixtures" }

    private static let unpacked: TemporaryFolder? = {
        guard let made = try? TemporaryFolder("fixtures") else { return nil }
        let archive = folder + "/node_exporter/fixtures.tgz"
        guard system("tar xzf '\(archive)' -C '\(made.path)'") == 0 else {
            made.remove()
            return nil
        }
        atexit { Conformance.unpacked?.remove() }
        return made
    }()

    /// The collectors that a virtual server needs, and all of node_exporter's.
    static let core = "e2e-vps-core.txt"
    static let all = "e2e-output.txt"

    /// The host whose files the fixtures are.
    static func paths() throws -> NodePaths {
        let root = try #require(fixtures)
        return NodePaths(
            procfs: root + "/proc", sysfs: root + "/sys", rootfs: root,
            udevData: root + "/udev/data")
    }

    /// Expects `families` to be exactly the expected samples whose names begin with one of `prefixes`, `count` in number,
    /// with their help and types.
    static func expectEqual(
        _ families: [MetricFamily], owning prefixes: [String], count: Int, file: String = all,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let ours = NodeReaderTests.samples(families)
        let theirs = try expectedSamples(file).filter { sample in
            prefixes.contains { sample.key.hasPrefix($0) }
        }
        #expect(theirs.count == count, sourceLocation: sourceLocation)
        for (key, value) in theirs {
            let isEqual = ours[key] == value || (value.isNaN && ours[key]?.isNaN == true)
            #expect(
                isEqual, "\(key): \(value), \(String(describing: ours[key]))",
                sourceLocation: sourceLocation)
        }
        #expect(
            Set(ours.keys).subtracting(theirs.keys).sorted() == [], sourceLocation: sourceLocation)
        let heads = try expectedHeads(file)
        let text = String(
            decoding: ExpositionWriter.text(families.filter { !$0.points.isEmpty }), as: UTF8.self)
        for line in text.split(separator: "\n") where line.hasPrefix("# ") {
            #expect(
                heads.contains(String(line.dropFirst(2))), "\(line)",
                sourceLocation: sourceLocation)
        }
    }

    /// Samples of the expected exposition as `name{a="b"}` → value, empty labels left out.
    static func expectedSamples(_ file: String = core) throws -> [String: Double] {
        let bytes = try PosixTree().contents(folder + "/node_exporter/" + file)
        var samples: [String: Double] = [:]
        for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n")
        where !line.hasPrefix("#") {
            guard let space = line.lastIndex(of: " "),
                let value = Double(line[line.index(after: space)...])
            else { continue }
            samples[key(line[..<space])] = value
        }
        return samples
    }

    /// `name{a="",b="c"}` → `name{b="c"}`. Values here hold no escaped quotes.
    static func key(_ text: Substring) -> String {
        guard let brace = text.firstIndex(of: "{") else { return String(text) }
        var labels: [String] = []
        var rest = text[text.index(after: brace)...].dropLast()
        while let equals = rest.firstIndex(of: "=") {
            let name = rest[..<equals]
            let valueStart = rest.index(equals, offsetBy: 2)
            guard let quote = rest[valueStart...].firstIndex(of: "\"") else { break }
            let value = rest[valueStart..<quote]
            if !value.isEmpty { labels.append("\(name)=\"\(value)\"") }
            rest = rest[quote...].dropFirst().drop { $0 == "," }
        }
        return labels.isEmpty
            ? String(text[..<brace]) : "\(text[..<brace]){\(labels.joined(separator: ","))}"
    }

    /// The help and type lines of the expected exposition, without `# `.
    static func expectedHeads(_ file: String = core) throws -> Set<String> {
        let bytes = try PosixTree().contents(folder + "/node_exporter/" + file)
        return Set(
            String(decoding: bytes, as: UTF8.self).split(separator: "\n").filter {
                $0.hasPrefix("# ")
            }.map { String($0.dropFirst(2)) })
    }
}
