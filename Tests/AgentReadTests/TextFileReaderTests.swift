import AgentRead
import Exposition
import Model
import Synchronization
import Testing
import World

@Suite("The textfile reader")
struct TextFileReaderTests {
    static let now = TimestampNS(1_700_000_000_000_000_000)

    /// What the reader tells of faults.
    final class Told: Sendable {
        private let errors = Mutex<[ReadError]>([])
        func add(_ error: ReadError) { errors.withLock { $0.append(error) } }
        /// What came since the last call.
        func take() -> [String] {
            errors.withLock { errors in
                defer { errors = [] }
                return errors.map(\.description)
            }
        }
    }

    static func samples(_ reader: TextFileReader) throws -> [String: Double] {
        NodeReaderTests.samples(try reader.read(now: now))
    }

    /// The samples of `files` in `/t` and what was told of them; without the files' times.
    static func read(
        _ files: [String: String], limits: TextFileReader.Limits = TextFileReader.Limits()
    ) throws -> (samples: [String: Double], told: [String]) {
        let told = Told()
        let tree = MemoryTree(
            Dictionary(uniqueKeysWithValues: files.map { ("/t/" + $0, $1) }))
        let reader = TextFileReader(
            tree: tree, directories: ["/t/"], limits: limits, report: { told.add($0) })
        let all = try samples(reader)
        return (all.filter { !$0.key.hasPrefix("node_textfile_mtime") }, told.take())
    }

    // MARK: - node_exporter's own cases

    /// Name and labels in one order, labels without a value left out.
    static func canonical(_ series: Substring) -> String {
        let key = Conformance.key(series)
        guard let brace = key.firstIndex(of: "{") else { return key }
        let labels = key[brace...].dropFirst().dropLast().split(separator: ",").sorted()
        return key[..<brace] + "{" + labels.joined(separator: ",") + "}"
    }

    /// The lines of an exposition as sets; the files' times are all 1.
    static func lines(_ text: String, root: String) -> (heads: Set<String>, samples: Set<String>) {
        var heads: Set<String> = []
        var samples: Set<String> = []
        for line in text.replacing(root, with: "fixtures").split(separator: "\n") {
            if line.hasPrefix("#") {
                heads.insert(String(line))
            } else if let space = line.lastIndex(of: " ") {
                let key = canonical(line[..<space])
                let value = line[line.index(after: space)...]
                samples.insert(key + (key.hasPrefix("node_textfile_mtime") ? " 1" : " \(value)"))
            }
        }
        return (heads, samples)
    }

    @Test(
        "node_exporter's fixtures, type, help and values",
        .enabled(
            if: Conformance.isPresent,
            "no node_exporter fixtures: set PETREL_CONFORMANCE to the conformance folder"),
        arguments: [
            ("no_metric_files", ["no_metric_files"]),
            ("two_metric_files", ["two_metric_files"]),
            ("nonexistent_path", ["nonexistent_path"]),
            ("client_side_timestamp", ["client_side_timestamp"]),
            ("different_metric_types", ["different_metric_types"]),
            ("inconsistent_metrics", ["inconsistent_metrics"]),
            ("histogram", ["histogram"]),
            ("histogram_extra_dimension", ["histogram_extra_dimension"]),
            ("summary", ["summary"]),
            ("summary_extra_dimension", ["summary_extra_dimension"]),
            (
                "glob_extra_dimension", ["histogram_extra_dimension", "summary_extra_dimension"]
            ),
            ("glob_extra_dimension", ["*_extra_dimension"]),
            ("metrics_merge_empty_help", ["metrics_merge_empty_help"]),
            ("metrics_merge_no_help", ["metrics_merge_no_help"]),
            ("metrics_merge_same_help", ["metrics_merge_same_help"]),
            ("metrics_merge_different_help", ["metrics_merge_different_help"]),
        ])
    func conformance(expect: String, directories: [String]) throws {
        let root = try #require(Conformance.fixtures)
        let folder = root + "/textfile/"
        let tree = PosixTree()
        let reader = TextFileReader(
            tree: tree, directories: directories.map { folder + $0 })
        let families = try reader.read(now: Self.now)
        let text = String(decoding: ExpositionWriter.text(families), as: UTF8.self)
        let ours = Self.lines(text, root: root)
        let wanted = String(
            decoding: try tree.contents(folder + expect + ".out"), as: UTF8.self)
        let theirs = Self.lines(wanted, root: root)
        #expect(!theirs.samples.isEmpty)
        #expect(ours.samples.subtracting(theirs.samples).sorted() == [])
        #expect(theirs.samples.subtracting(ours.samples).sorted() == [])
        #expect(ours.heads == theirs.heads)
    }

    // MARK: - Files

    @Test("folders in their order, patterns, only .prom; a folder named twice is read once")
    func folders() throws {
        let tree = MemoryTree([
            "/a/x.prom": "m{f=\"x\"} 1\n", "/a/x.txt": "m{f=\"t\"} 1\n",
            "/b/1/y.prom": "m{f=\"y\"} 1\n", "/b/2/y.prom": "m{f=\"z\"} 1\n",
            "/b/c/y.prom": "m{f=\"c\"} 1\n",
        ])
        let told = Told()
        let reader = TextFileReader(
            tree: tree, directories: ["/a//./", "", "/b/[0-9]", "/b/1"],
            report: { told.add($0) })
        #expect(reader.name == "textfile")
        #expect(
            try Self.samples(reader) == [
                "m{f=\"x\"}": 1, "m{f=\"y\"}": 1, "m{f=\"z\"}": 1,
                "node_textfile_mtime_seconds{file=\"/a/x.prom\"}": 0,
                "node_textfile_mtime_seconds{file=\"/b/1/y.prom\"}": 0,
                "node_textfile_mtime_seconds{file=\"/b/2/y.prom\"}": 0,
                "node_textfile_scrape_error": 0,
            ])
        #expect(told.take() == [])
        let family = try #require(try reader.read(now: Self.now).first)
        #expect(
            family.metadata.help == "Metric read from /a/x.prom, /b/1/y.prom, /b/2/y.prom")
    }

    @Test(
        "patterns of folders",
        arguments: [
            ("*", "abc", true), ("a*c", "abc", true), ("a*c", "ab", false), ("a?c", "aéc", true),
            ("[a-c]x", "bx", true), ("[^a-c]x", "bx", false), ("[^a-c]x", "dx", true),
            ("a\\*", "a*", true), ("a\\*", "ab", false), ("*a*b", "xaayb", true),
            ("[", "[", false), ("[]", "]", false), ("a\\", "a", false), ("[a-]", "a", false),
        ])
    func patterns(pattern: String, name: String, expect: Bool) throws {
        let tree = MemoryTree(["/p/\(name)/m.prom": "m 1\n"])
        let reader = TextFileReader(tree: tree, directories: ["/p/" + pattern])
        let isRead = try Self.samples(reader)["m"] == 1
        // `[` and the like are no patterns: they stand for themselves.
        #expect(isRead == (expect || pattern == name))
    }

    @Test("a folder that can't be listed is an error; no folder is none")
    func missingFolder() throws {
        let told = Told()
        let missing = TextFileReader(
            tree: PosixTree(), directories: ["/nonexistent/textfile"], report: { told.add($0) })
        #expect(try Self.samples(missing) == ["node_textfile_scrape_error": 1])
        let first = told.take()
        #expect(first.count == 1)
        #expect(first.allSatisfy { $0.hasPrefix("list /nonexistent/textfile: ") })
        #expect(try Self.samples(missing) == ["node_textfile_scrape_error": 1])
        // Told once.
        #expect(told.take() == [])
        let absent = TextFileReader(
            tree: PosixTree(), directories: ["/nonexistent/textfile"], mayBeAbsent: true)
        #expect(try Self.samples(absent) == ["node_textfile_scrape_error": 0])
        let none = TextFileReader(tree: PosixTree(), directories: [""])
        #expect(try Self.samples(none) == ["node_textfile_scrape_error": 0])
    }

    @Test("a fault is told once, again after it was mended, and names file and line")
    func report() throws {
        let tree = MemoryTree(["/t/a.prom": "a 1\n", "/t/b.prom": "b 1\nb x\n"])
        let told = Told()
        let reader = TextFileReader(tree: tree, directories: ["/t"], report: { told.add($0) })
        let expect: [String: Double] = [
            "a": 1, "node_textfile_mtime_seconds{file=\"/t/a.prom\"}": 0,
            "node_textfile_scrape_error": 1,
        ]
        #expect(try Self.samples(reader) == expect)
        let first = told.take()
        #expect(first.count == 1)
        #expect(first.allSatisfy { $0.hasPrefix("/t/b.prom: line 2, ") })
        #expect(try Self.samples(reader) == expect)
        #expect(told.take() == [])
        tree.create("/t/b.prom", "b 1\n")
        #expect(try Self.samples(reader)["b"] == 1)
        tree.create("/t/b.prom", "b 1\nb x\n")
        #expect(try Self.samples(reader)["b"] == nil)
        #expect(told.take() == first)
    }

    // MARK: - Content

    @Test(
        "files that are refused whole",
        arguments: [
            ("m 1\nm 2 1441205977284\n", "line 2: a timestamp"),
            ("m 1\nn 2", "the last line has no end"),
            ("# HELP m a\n# HELP m b\nm 1\n", "line 2: a second HELP of m"),
            ("# TYPE m gauge\n# TYPE m gauge\nm 1\n", "line 2: a second TYPE of m"),
            ("m 1\n# TYPE m gauge\n", "line 2: a second TYPE of m"),
            ("# TYPE m gouge\nm 1\n", "line 1, "),
            ("m{a=\"1\",a=\"2\"} 1\n", "line 1, "),
            ("m{__a=\"1\"} 1\n", "line 1: the label __a"),
            ("# TYPE m histogram\nm_bucket{le=\"x\"} 1\n", "line 2: le=\"x\" is no number"),
            ("# TYPE m summary\nm_count -1\n", "line 2: a count of -1"),
            ("# TYPE m histogram\nm_bucket{le=\"1\"} NaN\n", "line 2: a count of "),
            ("\u{0}\n", "line 1, "),
        ])
    func refused(text: String, detail: String) throws {
        let (samples, told) = try Self.read(["a.prom": text, "b.prom": "other 1\n"])
        #expect(samples == ["other": 1, "node_textfile_scrape_error": 1])
        #expect(told.count == 1)
        #expect(told.allSatisfy { $0.hasPrefix("/t/a.prom: " + detail) }, "\(told)")
    }

    @Test("bytes that are no UTF-8 are a fault and no trap")
    func bytes() throws {
        let tree = MemoryTree(["/t/a.prom": "m{l=\""])
        tree.append("/t/a.prom", bytes: [0xff, 0xfe])
        tree.append("/t/a.prom", "\"} 1\n")
        let reader = TextFileReader(tree: tree, directories: ["/t"])
        #expect(try Self.samples(reader) == ["node_textfile_scrape_error": 1])
    }

    @Test("a histogram gets its sum, its count and +Inf; the last of equal bounds counts")
    func histogram() throws {
        let (samples, told) = try Self.read([
            "a.prom": """
            # TYPE h histogram
            h_bucket{le="5",x="y"} 3.7
            h_bucket{le="1e1",x="y"} 4
            h_bucket{le="10",x="y"} 6
            h_bucket{x="y"} 99
            h_bucket{le="+Inf",x="z"} 2
            h_count{x="y"} 7
            h_sum{x="y"} -1.5
            h{x="w"} 5

            """
        ])
        #expect(told == [])
        #expect(
            samples == [
                "h_bucket{le=\"5\",x=\"y\"}": 3, "h_bucket{le=\"10\",x=\"y\"}": 6,
                "h_bucket{le=\"+Inf\",x=\"y\"}": 7, "h_count{x=\"y\"}": 7, "h_sum{x=\"y\"}": -1.5,
                "h_bucket{le=\"+Inf\",x=\"z\"}": 2, "h_count{x=\"z\"}": 0, "h_sum{x=\"z\"}": 0,
                "h_bucket{le=\"+Inf\",x=\"w\"}": 0, "h_count{x=\"w\"}": 0, "h_sum{x=\"w\"}": 0,
                "node_textfile_scrape_error": 0,
            ])
    }

    @Test("types and help; a help of blanks is none")
    func metadata() throws {
        let tree = MemoryTree([
            "/t/a.prom": "# HELP c  A \\\\ and\\nB.\n# TYPE c counter\nc 1\n# HELP g \n"
                + "# TYPE g gauge\ng NaN\n# TYPE empty gauge\nu +Inf\n"
        ])
        let families = try TextFileReader(tree: tree, directories: ["/t"]).read(now: Self.now)
        #expect(
            families.map(\.name) == [
                "c", "g", "u", "node_textfile_mtime_seconds", "node_textfile_scrape_error",
            ])
        #expect(families.map(\.metadata.type) == [.counter, .gauge, .unknown, .gauge, .gauge])
        #expect(families.first?.metadata.help == "A \\ and\nB.")
        #expect(
            families.dropFirst().prefix(2).allSatisfy {
                $0.metadata.help == "Metric read from /t/a.prom"
            })
    }

    @Test("the same family in several files")
    func merging() throws {
        let (samples, told) = try Self.read([
            "a.prom": "# HELP m A.\nm{f=\"a\"} 1\nm{f=\"a\"} 2\n# TYPE s summary\ns_count 1\n",
            "b.prom": "# HELP m A.\nm{f=\"a\",e=\"\"} 3\nm{f=\"b\"} 4\n",
            "c.prom": "# HELP m A.\n# TYPE m gauge\nm{f=\"c\"} 5\n",
            "d.prom": "m{f=\"d\"} 6\ns_count 2\n",
            "e.prom": "# HELP node_textfile_scrape_error X.\nnode_textfile_scrape_error 5\n",
        ])
        #expect(
            samples == [
                "m{f=\"a\"}": 1, "m{f=\"b\"}": 4, "s_count": 1, "s_sum": 0,
                "node_textfile_scrape_error": 0,
            ])
        #expect(
            told == [
                "/t/a.prom: 1 series of m are there already and left out",
                "/t/b.prom: 1 series of m are there already and left out",
                "/t/c.prom: m: another type than in a file before",
                "/t/d.prom: m: another help than in a file before",
                "/t/d.prom: s_count: a histogram or summary before has it",
                "/t/e.prom: node_textfile_scrape_error: this is the agent's",
            ])
    }

    @Test("another help is an error, and once there is one so is every file after")
    func inconsistentHelp() throws {
        let (samples, told) = try Self.read([
            "a.prom": "# HELP m A.\nm{f=\"a\"} 1\n", "b.prom": "# HELP m B.\nm{f=\"b\"} 1\n",
            "c.prom": "# HELP m A.\nm{f=\"c\"} 1\n",
        ])
        #expect(samples == ["m{f=\"a\"}": 1, "node_textfile_scrape_error": 1])
        #expect(
            told == [
                "/t/b.prom: the help of m differs from that in /t/a.prom",
                "/t/c.prom: the help of m differs from that in /t/a.prom",
            ])
    }

    // MARK: - Bounds

    @Test("what is past a bound is an error and the others are read")
    func bounds() throws {
        let files = ["a.prom": "a 1\na{x=\"1\"} 1\n", "b.prom": "b 1\n", "c.prom": "c 1\n"]
        func names(_ change: (inout TextFileReader.Limits) -> Void) throws -> [String] {
            var limits = TextFileReader.Limits()
            change(&limits)
            let (samples, told) = try Self.read(files, limits: limits)
            #expect(samples["node_textfile_scrape_error"] == 1)
            #expect(told.count == 1)
            return samples.keys.filter { !$0.hasPrefix("node_") }.sorted()
        }
        #expect(try names { $0.filesMax = 2 } == ["a", "a{x=\"1\"}", "b"])
        #expect(try names { $0.fileBytesMax = 6 } == ["b", "c"])
        #expect(try names { $0.bytesMax = 20 } == ["a", "a{x=\"1\"}", "b"])
        #expect(try names { $0.samplesMax = 3 } == ["a", "a{x=\"1\"}", "b"])
        // The file that is too large takes nothing from the rest.
        var limits = TextFileReader.Limits()
        limits.samplesMax = 2
        let (samples, _) = try Self.read(
            ["a.prom": "a 1\na{x=\"1\"} 1\na{x=\"2\"} 1\n", "b.prom": "b 1\nb{x=\"1\"} 1\n"],
            limits: limits)
        #expect(samples == ["b": 1, "b{x=\"1\"}": 1, "node_textfile_scrape_error": 1])
        let standard = TextFileReader.Limits()
        #expect(standard.filesMax == 1_000)
        #expect(standard.fileBytesMax == 4_194_304)
        #expect(standard.samplesMax == 50_000)
    }

    @Test("more folders than a pattern may stand for")
    func folderBound() throws {
        var limits = TextFileReader.Limits()
        limits.foldersMax = 2
        let told = Told()
        let tree = MemoryTree([
            "/p/1/m.prom": "a 1\n", "/p/2/m.prom": "b 1\n", "/p/3/m.prom": "c 1\n",
        ])
        let reader = TextFileReader(
            tree: tree, directories: ["/p/*"], limits: limits, report: { told.add($0) })
        let samples = try Self.samples(reader)
        #expect(samples["b"] == 1)
        #expect(samples["c"] == nil)
        #expect(samples["node_textfile_scrape_error"] == 1)
        #expect(told.take() == ["/p/*: more than 2 folders fit"])
    }
}
