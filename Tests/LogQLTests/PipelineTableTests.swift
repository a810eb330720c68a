import FoundationEssentials
import LogQL
import LogQLSyntax
import Model
import Testing

/// `pipeline.json`: whole log queries over a few streams.
@Suite("LogQL log queries")
struct PipelineTableTests {
    struct Case: Decodable {
        var query: String
        var streams: [Stream]
        var start: Int64
        var end: Int64
        var limit: Int
        var direction: String
        var intervalNs: Int64?
        var expectStreams: [Stream]
        var categories: Categories?
        var deletes: [Deletion]?
        var src: String
    }

    struct Stream: Decodable, Hashable {
        var labels: [String: String]
        var entries: [Entry]
    }

    struct Entry: Decodable, Hashable {
        var timestamp: Int64
        var line: String
        var metadata: [String: String]

        init(timestamp: Int64, line: String) {
            self.timestamp = timestamp
            self.line = line
            metadata = [:]
        }

        init(from decoder: any Decoder) throws {
            var container = try decoder.unkeyedContainer()
            timestamp = try container.decode(Int64.self)
            line = try container.decode(String.self)
            metadata =
                container.isAtEnd ? [:] : try container.decode([String: String].self)
        }
    }

    struct Categories: Decodable {
        var structuredMetadata: [String: String]
        var parsed: [String: String]
    }

    struct Deletion: Decodable {
        var selector: String
        var start: Int64
        var end: Int64
    }

    @Test(
        "streams as told",
        .enabled(if: PipelineTables.isPresent("pipeline.json"), "set PETREL_CONFORMANCE"))
    func cases() throws {
        let cases = try PipelineTables.cases("pipeline.json", Case.self)
        var passed = 0
        for one in cases {
            do {
                if try Self.check(one) { passed += 1 }
            } catch {
                Issue.record("\(one.query): \(error) (\(one.src))")
            }
        }
        print("pipeline.json: \(passed) of \(cases.count)")
        #expect(passed == cases.count)
    }

    private static func query(_ text: String) throws -> LogQuery {
        try LogQuery(try PipelineTables.selector(text))
    }

    private static func answer(
        _ one: Case, _ options: LogQueryOptions
    ) throws -> [LogResultStream] {
        let query = try query(one.query)
        let matcher = try StreamMatcher(query.matchers)
        let deletions = try (one.deletes ?? []).map {
            try LogDeletion(
                try self.query($0.selector), from: TimestampNS($0.start),
                to: TimestampNS($0.end))
        }
        let streams = one.streams.map { PipelineTables.labels($0.labels) }
        var page: [(entry: LogEntry, stream: Int)] = []
        for (index, stream) in one.streams.enumerated() where matcher.matches(streams[index]) {
            for entry in stream.entries
            where entry.timestamp >= one.start && entry.timestamp < one.end {
                page.append(
                    (
                        LogEntry(
                            timestamp: TimestampNS(entry.timestamp), line: Array(entry.line.utf8),
                            metadata: PipelineTables.labels(entry.metadata)), index
                    ))
            }
        }
        page.sort { $0.entry.timestamp < $1.entry.timestamp }
        if one.direction == "BACKWARD" { page.reverse() }
        let collection = LogCollection(query: query, options: options, deletions: deletions)
        _ = try collection.process(
            page.map(\.entry), streamIndexes: page.map(\.stream), streams: streams)
        return collection.streams
    }

    private static func check(_ one: Case) throws -> Bool {
        var options = LogQueryOptions(entriesMax: one.limit)
        options.direction = one.direction == "FORWARD" ? .forward : .backward
        options.intervalNanoseconds = one.intervalNs ?? 0
        let found = Set(
            try answer(one, options).map { stream in
                Stream(
                    labels: PipelineTables.dictionary(stream.labels),
                    entries: stream.entries.map {
                        Entry(
                            timestamp: $0.timestamp.rawValue,
                            line: String(decoding: $0.line, as: UTF8.self))
                    })
            })
        var isGood = found == Set(one.expectStreams)
        #expect(isGood, "\(one.query): \(found) (\(one.src))")
        guard let categories = one.categories else { return isGood }
        options.hasCategories = true
        let entry = try #require(try answer(one, options).first?.entries.first)
        let metadata = PipelineTables.dictionary(entry.structuredMetadata)
        let parsed = PipelineTables.dictionary(entry.parsed)
        #expect(metadata == categories.structuredMetadata, "\(one.query) (\(one.src))")
        #expect(parsed == categories.parsed, "\(one.query) (\(one.src))")
        isGood =
            isGood && metadata == categories.structuredMetadata && parsed == categories.parsed
        return isGood
    }
}
