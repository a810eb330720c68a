import PromQLSyntax
import Testing

/// Everything allowed, of any length: what remains are the bounds on depth.
private let endless = {
    var options = PromQLParserOptions.everything
    options.queryBytesMax = .max
    return options
}()

@Test func longQueriesAreRefused() {
    let query = "a" + String(repeating: " ", count: 16 * 1024)
    #expect {
        try PromQLParser.parse(query)
    } throws: { error in
        "\(error)" == "1:1: parse error: query of 16385 bytes exceeds the limit of 16384"
    }
    #expect(throws: Never.self) { try PromQLParser.parse(String(query.dropLast())) }
}

@Test(arguments: [
    String(repeating: "(", count: 10_000) + "1" + String(repeating: ")", count: 10_000),
    String(repeating: "(", count: 10_000),
    String(repeating: "-", count: 100_000) + "a",
    String(repeating: "abs(", count: 10_000) + "a",
    String(repeating: "sum(", count: 10_000) + "a",
    "a[" + String(repeating: "-(", count: 10_000) + "1",
    "a[" + String(repeating: "-", count: 100_000) + "1]",
    "a[1" + String(repeating: "+1", count: 10_000) + "]",
    "a[1" + String(repeating: "^1", count: 10_000) + "]",
    "a[" + String(repeating: "max_of(1,", count: 10_000),
    "a" + String(repeating: "+a", count: 100_000),
    "a" + String(repeating: "^a", count: 100_000),
    "a" + String(repeating: "[1m:]", count: 100_000),
])
func deepQueriesAreRefused(_ query: String) {
    #expect(throws: PromQLParseError.self) { try PromQLParser.parse(query, options: endless) }
}

@Test func nestingUpToTheBoundParses() throws {
    let query = String(repeating: "(", count: 127) + "a" + String(repeating: ")", count: 127)
    try checkPrintsBack(query)
    #expect(throws: PromQLParseError.self) { try PromQLParser.parse("(\(query))") }
}

/// A chain is as deep as it is long, and everything that walks the tree gets through.
@Test(arguments: ["+", "^", "or"])
func chainsOfTwoThousandOperatorsParse(_ operation: String) throws {
    let query = "a" + String(repeating: " \(operation) a", count: 2000)
    let tree = try PromQLParser.parse(query, options: endless)
    #expect(tree.selectors.count == 2001)
    #expect(tree.valueType == .vector)
    #expect(tree.description == query)
    let again = try PromQLParser.parse(query, options: endless)
    // Booleans only: the macro would describe the trees, and to reflect on them recurses.
    let isSame = again == tree
    let isSameNormalized = again.normalized() == tree.normalized()
    let isSameResolved = try tree.resolvingDurations(stepMS: 0, rangeMS: 0) == tree
    let isSameHash = again.hashValue == tree.hashValue
    #expect(isSame && isSameNormalized && isSameResolved && isSameHash)
}

@Test func manySignsFoldIntoANumber() throws {
    let tree = try PromQLParser.parse(
        String(repeating: "-", count: 100_000) + "1", options: endless)
    #expect(tree.description == "1")
}
