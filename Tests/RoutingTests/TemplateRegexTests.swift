import GoTemplate
import Model
import Routing
import Testing

@Suite("Regular expressions in templates")
struct TemplateRegexTests {
    @Test(
        "RE2 as Go",
        arguments: [
            (
                "{{ reReplaceAll \"(a)(b)\" \"$2-$1\" \"abab\" }} {{ match \"^a\" \"ba\" }}",
                "b-ab-a false"
            ),
            ("{{ reReplaceAll \"x*\" \"-\" \"ab\" }} {{ match \"a+\" \"baab\" }}", "-a-b- true"),
            ("{{ reReplaceAll \"(?P<n>[0-9]+)\" \"<${n}>\" \"a12b3\" }}", "a<12>b<3>"),
        ])
    func go(source: String, output: String) throws {
        let environment = TemplateEnvironment(now: TimestampMS(0), regex: .re2)
        #expect(try AlertTemplate(source).expand(labels: .empty, value: 0, environment) == output)
    }

    @Test("a bad pattern is told")
    func bad() throws {
        let environment = TemplateEnvironment(now: TimestampMS(0), regex: .re2)
        let text = try AlertTemplate("{{ match \"[\" \"a\" }}").expandOrExplain(
            labels: .empty, value: 0, environment)
        #expect(text.contains("error calling match: bad regular expression"))
    }
}
