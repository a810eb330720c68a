import FoundationEssentials
import LogQL
import LogQLSyntax
import Testing

/// The cases of `logql-tables/filters.json` that hold line filters alone.
@Suite("LogQL line filter cases")
struct LineFilterConformanceTests {
    struct Table: Decodable {
        var cases: [Case]
    }

    struct Case: Decodable {
        var stage: String
        var line: String?
        var lineBase64: String?
        var keep: Bool?
        var errorAny: Bool?
    }

    static let path =
        (ProcessInfo.processInfo.environment["PETREL_CONFORMANCE"] ?? "../shared/conformance")
        + "/logql-tables/filters.json"
    static let data = FileManager.default.contents(atPath: path)

    @Test("keep or drop as told", .enabled(if: data != nil, "no \(path): set PETREL_CONFORMANCE"))
    func cases() throws {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        let table = try decoder.decode(Table.self, from: try #require(Self.data))
        var checkedCount = 0
        var laterCount = 0
        for one in table.cases {
            do {
                let query = try LogQueryTests.query(one.stage)
                #expect(one.errorAny != true, "accepted: \(one.stage)")
                let line = one.lineBase64.flatMap { Data(base64Encoded: $0) }.map { Array($0) }
                let bytes = line ?? Array((one.line ?? "").utf8)
                if let keep = one.keep {
                    #expect(query.keeps(bytes) == keep, "\(one.stage) on \(one.line ?? "")")
                }
                checkedCount += 1
            } catch LogQLError.syntax(.notSupported) {
                laterCount += 1
            } catch {
                checkedCount += 1
                #expect(one.errorAny == true, "\(one.stage): \(error)")
            }
        }
        print("LogQL filter cases: \(checkedCount) checked, \(laterCount) not supported yet")
        #expect(checkedCount >= 450)
    }
}
