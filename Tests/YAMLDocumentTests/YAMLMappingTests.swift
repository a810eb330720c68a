import Model
import Testing
import YAMLDocument

@Suite("Configuration reader")
struct YAMLMappingTests {
    private func message(
        _ text: String, _ read: (inout YAMLMapping) throws(YAMLError) -> Void
    ) -> String? {
        do throws(YAMLError) {
            var mapping = try YAMLMapping.parse(text, file: "c.yaml")
            try read(&mapping)
            try mapping.finish()
            return nil
        } catch {
            return error.description
        }
    }

    @Test("typed reads")
    func typed() throws {
        let text = """
            name: web
            port: 0x10
            share: 2.5
            on: yes
            wait: 1h30m
            cap: 512MiB
            list: [a, 2, true]
            labels: {team: infra, empty: , n: 5}
            section:
              deep: 1
            items:
              - id: 1
              - id: 2
            nothing: null
            """
        var map = try YAMLMapping.parse(text, file: "c.yaml")
        #expect(try map.string("name") == "web")
        #expect(try map.int("port", range: 1...65535) == 16)
        #expect(try map.double("share") == 2.5)
        #expect(try map.bool("on") == true)
        #expect(try map.duration("wait")?.milliseconds == 5_400_000)
        #expect(try map.byteCount("cap") == 512 << 20)
        #expect(try map.strings("list") == ["a", "2", "true"])
        #expect(try map.stringPairs("labels").map(\.value) == ["infra", "", "5"])
        var section = try map.section("section")
        #expect(try section.int("deep") == 1)
        try section.finish()
        var ids: [Int?] = []
        for var item in try map.mappings("items") { ids.append(try item.int("id")) }
        #expect(ids == [1, 2])
        #expect(try map.string("nothing", default: "x") == "x")
        #expect(try map.int("absent", default: 7) == 7)
        #expect(try map.strings("missing", default: ["y"]) == ["y"])
        try map.finish()
    }

    @Test("unknown keys name the nearest one")
    func unknown() {
        let near = message("retenton: 1\n") { map throws(YAMLError) in
            _ = try map.int("retention")
        }
        #expect(
            near
                == "c.yaml:1:1: unknown key `retenton`: did you mean `retention`? "
                + "expected one of retention")
        let far = message("a: 1\n  \nzzz: 1\n") { map throws(YAMLError) in
            _ = try map.int("a")
            _ = try map.int("bee")
        }
        #expect(far == "c.yaml:3:1: unknown key `zzz`; expected one of a, bee")
    }

    @Test(
        "wrong values say what was expected and where",
        arguments: [
            ("k: x", "c.yaml:1:4: `k`: expected a whole number from 1 to 9, found `x`"),
            ("k: 10", "c.yaml:1:4: `k`: expected a whole number from 1 to 9, found `10`"),
            ("k: '5'", "c.yaml:1:4: `k`: expected a whole number from 1 to 9, found `5`"),
            (
                "k:\n  - 1",
                "c.yaml:2:3: `k`: expected a whole number from 1 to 9, found a list"
            ),
        ])
    func wrongInteger(text: String, expected: String) {
        let found = message(text) { map throws(YAMLError) in _ = try map.int("k", range: 1...9) }
        #expect(found == expected)
    }

    @Test("other wrong values")
    func wrong() {
        let duration = message("a: 1\nk:   5 minutes") { map throws(YAMLError) in
            _ = try map.int("a")
            _ = try map.duration("k")
        }
        #expect(
            duration
                == "c.yaml:2:6: `k`: expected a duration such as 15s, 5m or 1h30m, "
                + "found `5 minutes`")
        let bool = message("k: maybe") { map throws(YAMLError) in _ = try map.bool("k") }
        #expect(bool == "c.yaml:1:4: `k`: expected true or false, found `maybe`")
        let size = message("k: 5XB") { map throws(YAMLError) in _ = try map.byteCount("k") }
        #expect(size == "c.yaml:1:4: `k`: expected a size such as 512MiB or 10GB, found `5XB`")
        let mapping = message("k: 5") { map throws(YAMLError) in _ = try map.mapping("k") }
        #expect(mapping == "c.yaml:1:4: `k`: expected a mapping, found `5`")
        let strings = message("k: [a, [b]]") { map throws(YAMLError) in
            _ = try map.strings("k")
        }
        #expect(strings == "c.yaml:1:8: `k`: expected a text, found a list")
        let missing = message("{}") { map throws(YAMLError) in
            _ = try map.requiredString("name")
        }
        #expect(missing == "c.yaml:1:1: the key `name` is missing")
        let top = message("- a") { map throws(YAMLError) in }
        #expect(top == "c.yaml:1:1: expected a mapping, found a list")
    }

    @Test(
        "truth values of YAML 1.1",
        arguments: [
            ("y", true), ("Y", true), ("yes", true), ("on", true), ("True", true), ("n", false),
            ("No", false), ("OFF", false), ("false", false),
        ])
    func truth(word: String, value: Bool) throws {
        var map = try YAMLMapping.parse("k: \(word)", file: "c")
        #expect(try map.bool("k") == value)
    }

    @Test(
        "sizes",
        arguments: [
            ("0", 0), ("10", 10), ("1KB", 1000), ("1KiB", 1024), ("1.5GiB", 3 << 29),
            ("2 TiB", 2 << 40), ("7b", 7), ("1.5", nil), ("", nil), ("MiB", nil),
            ("9999999999TiB", nil), ("-1", nil),
        ] as [(String, Int?)])
    func sizes(text: String, bytes: Int?) { #expect(YAMLByteCount.parse(text) == bytes) }
}
