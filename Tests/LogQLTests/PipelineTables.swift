import FoundationEssentials
import LogQL
import LogQLSyntax
import Model
import Testing

/// The tables of `$PETREL_CONFORMANCE/logql-tables`.
enum PipelineTables {
    struct Table<Case: Decodable>: Decodable {
        var cases: [Case]
    }

    static func path(_ file: String) -> String {
        (ProcessInfo.processInfo.environment["PETREL_CONFORMANCE"] ?? "../shared/conformance")
            + "/logql-tables/" + file
    }

    static func isPresent(_ file: String) -> Bool {
        FileManager.default.contents(atPath: path(file)) != nil
    }

    static func cases<Case: Decodable>(_ file: String, _: Case.Type) throws -> [Case] {
        let data = try #require(FileManager.default.contents(atPath: path(file)))
        let decoder = JSONDecoder()
        // The names in label sets, which are dictionaries, stay as they are.
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return try decoder.decode(Table<Case>.self, from: data).cases
    }

    static func labels(_ pairs: [String: String]) -> Labels {
        Labels(sortedUnchecked: pairs.map { Label($0.key, $0.value) }.sorted())
    }

    static func dictionary(_ labels: Labels) -> [String: String] {
        Dictionary(labels.map { ($0.name, $0.value) }) { _, last in last }
    }

    static func selector(_ text: String) throws -> LogSelector {
        guard case .log(let query) = try PreparedLogQL.prepare(text) else {
            throw LogQLError.syntax(.onlySelector)
        }
        return query.selector
    }
}
