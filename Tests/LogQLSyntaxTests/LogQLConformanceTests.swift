import FoundationEssentials
import LogQLSyntax
import Testing

/// The cases of `logql-tables/parse.json` that are within what is answered today.
@Suite("LogQL parse cases")
struct LogQLConformanceTests {
    struct Table: Decodable {
        var cases: [Case]
    }

    struct Case: Decodable {
        var query: String?
        var entry: String
        var error: String?
        var errorContains: String?
        var errorAny: Bool?
        var phase: String?
        var string: String?
    }

    static let path =
        (ProcessInfo.processInfo.environment["PETREL_CONFORMANCE"] ?? "../shared/conformance")
        + "/logql-tables/parse.json"
    static let data = FileManager.default.contents(atPath: path)

    @Test(
        "parse or refuse as told", .enabled(if: data != nil, "no \(path): set PETREL_CONFORMANCE"))
    func cases() throws {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        let table = try decoder.decode(Table.self, from: try #require(Self.data))
        var checkedCount = 0
        var laterCount = 0
        for one in table.cases where ["expr", "sample", "selector", "matchers"].contains(one.entry)
        {
            guard let query = one.query, one.phase == nil else { continue }
            let outcome = Result { () throws(LogQLSyntaxError) -> String in
                one.entry == "matchers"
                    ? "\(try LogQLParser.parseMatchers(query))"
                    : try LogQLParser.parse(query).description
            }
            let fails = one.error != nil || one.errorContains != nil || one.errorAny == true
            switch outcome {
            case .failure(.notSupported): laterCount += 1
            case .failure(let error):
                checkedCount += 1
                #expect(fails, "\(query): \(error)")
                if let text = one.error { #expect(error.description == text, "\(query)") }
                if let text = one.errorContains {
                    #expect(error.description.contains(text), "\(query)")
                }
            case .success(let printed):
                checkedCount += 1
                #expect(!fails, "parsed: \(query)")
                // Loki folds arithmetic of literals where it prints; ours shows it.
                if let text = one.string, query.hasPrefix("{") {
                    #expect(printed == text, "\(query)")
                }
            }
        }
        print("LogQL parse cases: \(checkedCount) checked, \(laterCount) not supported yet")
        #expect(checkedCount >= 60)
    }
}
