import PromQLSyntax
import Testing

@Suite(.enabled(if: ConformanceData.isPresent, Comment(rawValue: ConformanceData.missing)))
struct ConformanceTests {
    /// Cases that the extraction from Prometheus' test table damaged, with what stood there: a raw byte became U+00FF,
    /// and two queries were cut at their first backtick.
    private static let damaged: [String: (query: [UInt8], fail: Bool)] = [
        "some_metric{a=\"\u{ff}\"}": (Array("some_metric{a=\"".utf8) + [0xff, 0x22, 0x7d], true),
        "{'foo\\'bar', ": (Array("{'foo\\'bar', 'a\\\\dos\\\\path'='boo \\u{c}foo'}".utf8), true),
        "`": (Array("`backtick-quoted \\n string`".utf8), false),
    ]

    @Test func parseCasesAreAcceptedAndRefusedAsTold() throws {
        let cases = try ConformanceData.parseCases()
        #expect(cases.count == 175)
        var met = 0
        for item in cases {
            let (bytes, fail) = Self.damaged[item.query] ?? (Array(item.query.utf8), item.fail)
            if Self.damaged[item.query] != nil { met += 1 }
            let failed =
                (try? PromQLParser.parse(bytes: bytes, options: .everything)) == nil
            #expect(failed == fail, "\(item.query)")
        }
        #expect(met == Self.damaged.count)
    }

    @Test func scriptQueriesParseAndPrintBack() {
        let queries = ConformanceData.scripts().queries
        #expect(queries.count > 1000)
        for line in queries {
            do throws(PromQLParseError) {
                try checkPrintsBack(line.text)
            } catch {
                #expect(line.fails, "\(line.file):\(line.number): \(line.text): \(error)")
            }
        }
    }

    @Test func scriptSeriesParse() {
        let lines = ConformanceData.scripts().series
        #expect(lines.count > 2000)
        for line in lines {
            #expect(throws: Never.self, "\(line.file):\(line.number): \(line.text)") {
                _ = try SeriesDescription.parse(line.text)
            }
        }
    }

    @Test func benchmarkQueriesParseAndPrintBack() throws {
        let queries = ConformanceData.benchmarkQueries()
        #expect(queries.count > 50)
        for query in queries { try checkPrintsBack(query) }
    }
}

/// Checks that `query` prints as a query that parses to the same tree.
func checkPrintsBack(
    _ query: String, sourceLocation: SourceLocation = #_sourceLocation
) throws(PromQLParseError) {
    let tree = try PromQLParser.parse(query, options: .everything)
    let printed = tree.description
    let again: Expression
    do throws(PromQLParseError) {
        again = try PromQLParser.parse(printed, options: .everything)
    } catch {
        Issue.record(
            "\(query) prints as \(printed), which fails: \(error)", sourceLocation: sourceLocation)
        return
    }
    #expect(
        again.normalized() == tree.normalized(), "\(query) prints as \(printed)",
        sourceLocation: sourceLocation)
}
