import GoTemplate
import Testing

@Suite("Go templates")
struct GoTemplateTests {
    static let data = TemplateValue.object(
        TemplateObject(
            "test.Data",
            fields: [
                "Name": .string("web"), "Count": .int(3), "Share": .float(0.5), "On": .bool(true),
                "Labels": .stringMap(["job": "api", "env": "prod"]),
                "Any": .map(["a": .int(1), "nothing": .null]),
                "List": .list([.string("x"), .string("y"), .string("z")]), "None": .list([]),
                "Nested": .object(
                    TemplateObject("test.Nested", fields: ["Deep": .stringMap(["k": "v"])])),
            ],
            methods: [
                "Greet": TemplateFunction(1...1) { (a) throws(GoTemplateError) in
                    .string("hello " + (try a[0].requireString()))
                }
            ]))

    private func expand(_ source: String) -> String {
        do throws(GoTemplateError) {
            return try GoTemplate.expand(source, Self.data)
        } catch {
            return "error: \(error)"
        }
    }

    @Test(
        "text, trimming and comments",
        arguments: [
            ("plain", "plain"), ("", ""), ("a {{/* note */}}b", "a b"),
            ("a {{- /* note */ -}} b", "ab"), ("a \n {{- .Name -}} \n b", "awebb"),
            ("a {{- \" x \" }} b", "a x  b"), ("{{ -5 }}", "-5"), ("{{-5}}", "-5"),
            ("{{`raw\\n`}}", "raw\\n"), ("{{\"q\\t\\u00e9\"}}", "q\té"), ("{{'a'}}", "97"),
            ("{{0x1F}} {{1e3}} {{1.5}} {{1_000}}", "31 1000 1.5 1000"), ("}}", "}}"),
        ])
    func text(source: String, output: String) { #expect(expand(source) == output) }

    @Test(
        "fields, variables and pipelines",
        arguments: [
            ("{{.Name}}", "web"), ("{{.Labels.job}}", "api"), ("[{{.Labels.absent}}]", "[]"),
            ("{{.Any.a}} {{.Any.absent}}", "1 <no value>"), ("{{.Nested.Deep.k}}", "v"),
            ("{{(.Nested).Deep.k}}", "v"), ("{{$.Name}}", "web"), ("{{$x := 1}}{{$x}}", "1"),
            ("{{$x := 1}}{{$x = 2}}{{$x}}", "2"),
            ("{{$x := 1}}{{if true}}{{$x = 2}}{{end}}{{$x}}", "2"),
            ("{{$x := 1}}{{if true}}{{$x := 2}}{{end}}{{$x}}", "1"),
            ("{{.Greet \"you\"}}", "hello you"), ("{{\"me\" | .Greet}}", "hello me"),
            ("{{.Name | printf \"%s-%s\" \"a\"}}", "a-web"),
            ("{{(printf \"%d\" .Count) | len}}", "1"), ("{{.List}}", "[x y z]"),
            ("{{.Labels}}", "map[env:prod job:api]"), ("{{$l := .Labels}}{{$l.job}}", "api"),
        ])
    func fields(source: String, output: String) { #expect(expand(source) == output) }

    @Test(
        "control",
        arguments: [
            ("{{if .On}}yes{{else}}no{{end}}", "yes"), ("{{if .None}}yes{{else}}no{{end}}", "no"),
            ("{{if eq .Count 1}}1{{else if eq .Count 3}}3{{else}}?{{end}}", "3"),
            ("{{with .Name}}<{{.}}>{{end}}", "<web>"),
            ("{{with .None}}x{{else}}none{{end}}", "none"),
            ("{{with .None}}x{{else with .Name}}{{.}}{{end}}", "web"),
            ("{{with $n := .Name}}{{$n}}{{end}}", "web"),
            ("{{range .List}}{{.}},{{end}}", "x,y,z,"),
            ("{{range $i, $e := .List}}{{$i}}={{$e}} {{end}}", "0=x 1=y 2=z "),
            ("{{range $e := .List}}{{$e}}{{end}}", "xyz"),
            ("{{range .None}}x{{else}}empty{{end}}", "empty"),
            ("{{range $k, $v := .Labels}}{{$k}}={{$v}} {{end}}", "env=prod job=api "),
            ("{{range .List}}{{if eq . \"y\"}}{{continue}}{{end}}{{.}}{{end}}", "xz"),
            ("{{range .List}}{{if eq . \"y\"}}{{break}}{{end}}{{.}}{{end}}", "x"),
            ("{{range 3}}{{.}}{{end}}", "012"),
            ("{{define \"t\"}}[{{.}}]{{end}}{{template \"t\" .Name}}", "[web]"),
            ("{{define \"t\"}}[{{.}}]{{end}}{{template \"t\"}}", "[<no value>]"),
            ("{{block \"b\" .Count}}{{.}}{{end}}", "3"),
            ("{{range .List}}{{$.Name}}{{end}}", "webwebweb"),
            ("{{$x := 0}}{{range $i, $e := .List}}{{$x = $i}}{{end}}{{$x}}", "2"),
        ])
    func control(source: String, output: String) { #expect(expand(source) == output) }

    @Test(
        "built-in functions",
        arguments: [
            ("{{and 1 0 2}} {{or 0 \"\" \"x\"}} {{not .On}}", "0 x false"),
            ("{{or .On (index .List 9)}}", "true"), ("{{and .None (index .List 9)}}", "[]"),
            (
                "{{eq 1 2 1}} {{ne 1 2}} {{lt 1 2}} {{le 2 2}} {{gt 1.5 1.0}} {{ge \"a\" \"b\"}}",
                "true true true true true false"
            ),
            ("{{len .List}} {{len .Name}} {{len .Labels}}", "3 3 2"),
            ("{{index .List 1}} {{index .Labels \"job\"}} {{index .Any \"a\"}}", "y api 1"),
            ("{{slice .Name 1}} {{slice .List 0 2}}", "eb [x y]"),
            ("{{print 1 2 \"a\" 3}}|{{println 1 \"a\"}}", "1 2a3|1 a\n"),
            ("{{html \"<a b='c'>\"}}", "&lt;a b=&#39;c&#39;&gt;"),
            ("{{js \"it's <b>\"}}", "it\\'s \\u003Cb\\u003E"),
            ("{{urlquery \"a b&c/é\"}}", "a+b%26c%2F%C3%A9"),
        ])
    func builtins(source: String, output: String) { #expect(expand(source) == output) }

    @Test(
        "printf",
        arguments: [
            ("%v %s %d %t", "\"a\" \"b\" 3 true", "a b 3 true"),
            ("%5d|%-5d|%05d", "7 7 -7", "    7|7    |-0007"),
            ("%q %x %X", "\"a\\\"b\" 255 255", "\"a\\\"b\" ff FF"),
            ("%+d %c %U", "3 65 65", "+3 A U+0041"),
            ("%f %.2f %8.1f", "1.5 2.345 9.96", "1.500000 2.35     10.0"),
            ("%e %g %.3g", "12345.678 0.00001 1234.5", "1.234568e+04 1e-05 1.23e+03"),
            ("%s %d", "1 \"a\"", "%!s(int=1) %!d(string=a)"), ("%d %d", "1", "1 %!d(MISSING)"),
            ("%d", "1 2", "1%!(EXTRA int=2)"),
            ("100%% %.2s %6s|", "\"abc\" \"x\"", "100% ab      x|"),
            ("%v %v", "1.0 1e21", "1 1e+21"), ("%*d", "4 7", "   7"), ("%T", "1.5", "float64"),
            ("%!", "1", "%!!(int=1)"), ("%6.2f%%", "12.345", " 12.35%"),
            ("%[2]d %[1]d", "1 2", "2 1"), ("%[2]*[1]d|", "2 5", "    2|"),
            ("%6.2f|%[1]v", "12.0", " 12.00|12"), ("%[3]*.[2]*[1]f", "12.0 2 6", " 12.00"),
            ("%[1]*.[2]*[3]f", "6 2 12.0", " 12.00"), ("%.[1]*[3]f", "6 99 12.0", "12.000000"),
            ("%[5]d %[2]d %d", "1 2 3", "%!d(BADINDEX) 2 3"),
            ("%d %[3]d %d", "1 2", "1 %!d(BADINDEX) 2"), ("%.[2]d", "7", "%!d(BADINDEX)"),
            ("%[2]2d", "1 2", "%!d(BADINDEX)"), ("%[2].2d", "1 2", "%!d(BADINDEX)"),
            ("%[]d", "1", "%!d(BADINDEX)"), ("%[x]d", "1", "%!d(BADINDEX)"),
            ("%[0]d", "1", "%!d(BADINDEX)"), ("%[3", "1", "%!(NOVERB)"),
            ("%.[]", "1", "%!](BADINDEX)"), ("%[1]", "1", "%!(NOVERB)"), ("%.", "1", "%!.(int=1)"),
            ("%*d|", "-4 7", "7   |"), ("%0*d|", "-4 7", "7   |"),
            ("%*d", "`x` 7", "%!(BADWIDTH)7"),
            ("%.*f", "-1 1.5", "%!(BADPREC)1.500000"), ("%d", "1 nil", "1%!(EXTRA <nil>)"),
        ])
    func printf(format: String, arguments: String, output: String) {
        let quoted = "`" + format + "`"
        #expect(expand("{{printf \(quoted) \(arguments)}}") == output)
    }

    @Test(
        "numbers print as Go prints them",
        arguments: [
            (0, "0"), (1, "1"), (0.1, "0.1"), (100, "100"), (123456, "123456"),
            (1_000_000, "1e+06"), (1_234_567, "1.234567e+06"), (0.0001, "0.0001"),
            (0.00001, "1e-05"), (-2.5, "-2.5"), (.infinity, "+Inf"), (-.infinity, "-Inf"),
            (.nan, "NaN"), (1e100, "1e+100"), (123456789.125, "1.23456789125e+08"),
        ] as [(Double, String)])
    func floats(value: Double, text: String) { #expect(TemplateValue.float(value).text == text) }

    @Test(
        "syntax errors",
        arguments: [
            ("{{", "line 1: unclosed action: `}}` is missing"),
            ("a\n{{if .On}}b", "line 2: {{if}} without {{end}}"),
            ("{{end}}", "line 1: unexpected {{end}}"),
            ("{{else}}", "line 1: unexpected {{else}}"),
            ("{{$x}}", "line 1: undefined variable \"$x\""),
            ("{{if $x := 1}}{{end}}{{$x}}", "line 1: undefined variable \"$x\""),
            ("\n\n{{frob 1}}", "line 3: function \"frob\" not defined"),
            ("{{\"a}}", "line 1: unterminated string"),
            ("{{1 |}}", "line 1: missing value in an action"),
            ("{{}}", "line 1: missing value in an action"), ("{{(1}}", "line 1: `)` is missing"),
            ("{{.Name | 1}}", "line 1: a literal can't take a piped value"),
            ("{{break}}", "line 1: {{break}} outside {{range}}"),
            ("{{/* a", "line 1: unclosed comment"),
            ("{{print\"a\"}}", "line 1: unexpected `\"` right after a name"),
            ("{{print \"a\"\"b\"}}", "line 1: expected a space between operands"),
            ("{{1abc}}", "line 1: bad number `1abc`"),
        ])
    func syntax(source: String, message: String) {
        #expect(throws: GoTemplateError.self) { try GoTemplate(source) }
        #expect(expand(source) == "error: " + message)
    }

    @Test(
        "execution errors",
        arguments: [
            ("{{.Absent}}", "line 1: can't evaluate field Absent in type test.Data"),
            ("x\n{{index .List 9}}", "line 2: error calling index: index out of range: 9"),
            (
                "{{gt 1 1.5}}",
                "line 1: error calling gt: incompatible types for comparison: int and float64"
            ),
            ("{{template \"t\"}}", "line 1: template \"t\" not defined"),
            ("{{range .On}}{{end}}", "line 1: range can't iterate over true (bool)"),
            ("{{len}}", "line 1: wrong number of arguments for len: want 1 got 0"),
            ("{{.Name 1}}", "line 1: Name has arguments but is no method of test.Data"),
            ("{{.Any.absent.x}}", "line 1: nil data; no entry for key \"x\""),
        ])
    func execution(source: String, message: String) {
        #expect(expand(source) == "error: " + message)
    }

    @Test("bounds hold")
    func bounds() {
        let deep =
            String(repeating: "{{if true}}", count: 200)
            + String(repeating: "{{end}}", count: 200)
        #expect(expand(deep).contains("nested deeper than 128 levels"))
        let parens = String(repeating: "(", count: 5000) + "1" + String(repeating: ")", count: 5000)
        #expect(expand("{{\(parens)}}").contains("nested deeper than 128 levels"))
        let endless = "{{define \"t\"}}{{template \"t\"}}{{end}}{{template \"t\"}}"
        #expect(expand(endless).contains("more than 128 deep"))
        let long = "{{range 1000}}{{range 1000}}\(String(repeating: "x", count: 20)){{end}}{{end}}"
        #expect(expand(long).contains("the output is longer than 1048576 bytes"))
        let busy = "{{range 1000}}{{range 10000}}{{end}}{{end}}"
        #expect(expand(busy).contains("more than 1000000 steps"))
    }

    @Test("a library of templates is shared")
    func library() throws {
        let library = try GoTemplate("{{define \"a\"}}lib {{.Name}}{{end}}{{define \"b\"}}b{{end}}")
        let own = try GoTemplate(
            "{{define \"b\"}}mine{{end}}{{template \"a\" .}} {{template \"b\"}}")
        #expect(try own.including(library).expand(Self.data) == "lib web mine")
        #expect(library.definedNames == ["a", "b"])
    }
}
