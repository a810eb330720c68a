import Testing
import YAMLDocument

@Suite("YAML documents")
struct YAMLDocumentTests {
    private func print(_ node: YAMLNode) -> String {
        switch node.content {
        case .null: "~"
        case .scalar(let scalar): scalar.style == .plain ? scalar.text : "\"\(scalar.text)\""
        case .sequence(let items): "[" + items.map(print).joined(separator: ",") + "]"
        case .mapping(let pairs):
            "{" + pairs.map { "\($0.key):\(print($0.value))" }.joined(separator: ",") + "}"
        }
    }

    private func failure(_ text: String) -> String? {
        do throws(YAMLError) {
            _ = try YAMLDocument.parse(text, file: "f.yaml")
            return nil
        } catch {
            return error.description
        }
    }

    @Test(
        "shapes",
        arguments: [
            ("", "~"), ("# only a comment\n", "~"), ("---\na: 1\n...\n", "{a:1}"),
            ("b: 2\na: [x, 'y', ~]", "{b:2,a:[x,\"y\",~]}"), ("k:\n  - 1\n  -\n", "{k:[1,~]}"),
            ("k: |\n  a\n  b\n", "{k:\"a\nb\n\"}"), ("k: >-\n  a\n  b\n", "{k:\"a b\"}"),
            ("k: !!str 5", "{k:5}"), ("a: &x {b: 1}\nc: *x", "{a:{b:1},c:{b:1}}"),
            ("d: &d {a: 1, b: 2}\ne: {<<: *d, b: 3}", "{d:{a:1,b:2},e:{b:3,a:1}}"),
            (
                "d: &d {a: 1}\nf: &f {a: 2, c: 3}\ne:\n  <<: [*d, *f]\n",
                "{d:{a:1},f:{a:2,c:3},e:{a:1,c:3}}"
            ),
            ("k: \"a\\u00e9\\n\"", "{k:\"aé\n\"}"), ("1: x\n~: y", "{1:x,null:y}"),
        ])
    func shapes(text: String, printed: String) throws {
        #expect(print(try YAMLDocument.parse(text, file: "f")) == printed)
    }

    @Test("marks count lines and columns from 1")
    func marks() throws {
        let root = try YAMLDocument.parse("a: 1\nb:\n  - x\n  -  yé\n", file: "f")
        guard case .mapping(let pairs) = root.content,
            case .sequence(let items) =
                pairs[1].value.content
        else {
            Issue.record("not the expected shape")
            return
        }
        #expect(pairs[1].keyMark == YAMLMark(line: 2, column: 1))
        #expect(items.map(\.mark) == [YAMLMark(line: 3, column: 5), YAMLMark(line: 4, column: 6)])
    }

    @Test(
        "refusals",
        arguments: [
            ("a: 1\na: 2", "f.yaml:2:1: duplicate key `a`: it is already set on line 1"),
            ("a: *x", "f.yaml:1:4: alias `*x` has no anchor `&x` before it"),
            (
                "a: 1\n---\nb: 2",
                "f.yaml:2:1: a second document begins here; "
                    + "the file may hold only one"
            ),
            ("[a]: 1", "f.yaml:1:1: a key must be a single value, found a list"),
            (
                "<<: 5",
                "f.yaml:1:5: the merge key `<<` takes a mapping or a list of mappings, "
                    + "found a single value"
            ),
        ])
    func refusals(text: String, message: String) { #expect(failure(text) == message) }

    @Test("a syntax error has its place", arguments: ["a: [1, 2", "a: 'x", "a:\n\t- b", "a: b: c"])
    func syntax(text: String) {
        #expect(failure(text)?.hasPrefix("f.yaml:") == true)
        #expect(failure(text)?.contains("not valid YAML") == true)
    }

    @Test("nesting stops at 128 levels")
    func depth() {
        let nested = { (levels: Int) in
            String(repeating: "[", count: levels) + String(repeating: "]", count: levels)
        }
        #expect(failure(nested(128)) == nil)
        #expect(failure(nested(130))?.contains("nested deeper than 128 levels") == true)
        #expect(failure(nested(5000))?.contains("nested deeper than 128 levels") == true)
    }

    @Test("aliases cannot blow a document up")
    func billionLaughs() {
        var text = "a0: &a0 [x]\n"
        for level in 1...30 {
            let item = "*a\(level - 1)"
            text += "a\(level): &a\(level) [\(item), \(item), \(item), \(item)]\n"
        }
        #expect(failure(text)?.contains("after the expansion of aliases") == true)
    }

    @Test("a file that is too long is refused")
    func size() {
        let text = String(repeating: "#", count: YAMLDocument.bytesMax + 1)
        #expect(failure(text)?.contains("at most \(YAMLDocument.bytesMax) are read") == true)
    }
}
