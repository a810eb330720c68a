import GoTemplate
import LogQL
import LogQLSyntax
import Model
import Testing

/// Templates over one entry: results as Loki 3.6 documents them, errors in the words of Go's `text/template`.
@Suite("LogQL templates")
struct LogTemplateTests {
    private static let labels: [String: String] = [
        "a": "Hello, 世界", "n": "42", "f": "3.5", "empty": "", "d": "1h30m", "b": "1.5 KB",
        "json": #"{"name":"x","list":[1,2.5,{"k":null}],"on":true}"#, "t": "2023-03-10T01:32:40Z",
        "path": "/a b?c=d&e", "sp": "  x  ",
    ]
    private static let now = TimestampNS(1_700_000_000_000_000_000)
    private static let time = TimestampNS(1_656_353_124_120_000_000)

    /// One zone, an hour east of Greenwich, as a TZif file.
    private static let locations = GoLocations { name in
        let header =
            Array("TZif2".utf8) + [UInt8](repeating: 0, count: 31) + [0, 0, 0, 1, 0, 0, 0, 4]
        let old = header + [0, 0, 0, 0, 0, 0] + Array("UTC\0".utf8)
        let new = header + [0, 0, 0x0e, 0x10, 0, 0] + Array("CET\0\nCET-1\n".utf8)
        return name == "Africa/Algiers" ? old + new : nil
    }

    private func run(
        _ stage: PipelineStage, line: [UInt8] = Array("the line".utf8)
    ) throws -> PipelineRun {
        let matcher = LabelMatcher("x", .equal, "y")
        let run = PipelineRun(try Pipeline(LogSelector(matchers: [matcher], stages: [stage])))
        run.labels.now = Self.now
        run.labels.toDateInZone = Self.locations.toDateInZone
        let stream = run.forStream(PipelineTables.labels(Self.labels))
        #expect(run.process(timestamp: Self.time, line: line, of: stream))
        return run
    }

    private func format(_ template: String) throws -> String {
        let run = try run(.lineFormat(template))
        if run.labels.hasError { return "error: " + run.labels.errorDetails }
        return String(decoding: run.line, as: UTF8.self)
    }

    @Test(
        "texts",
        arguments: [
            ("{{ToUpper .a}} {{.a | lower}} {{title `ab cd`}}", "HELLO, 世界 hello, 世界 Ab Cd"),
            ("{{Replace .a `l` `L` 1}}|{{.a | replace `l` ``}}", "HeLlo, 世界|Heo, 世界"),
            ("{{Replace `ab` `` `-` -1}}", "-a-b-"),
            (
                "{{Trim `xxaxx` `x`}} {{TrimLeft `xxaxx` `x`}} {{TrimRight `xxaxx` `x`}}",
                "a axx xxa"
            ),
            ("{{TrimPrefix `abc` `a`}} {{TrimSuffix `abc` `c`}} [{{TrimSpace .sp}}]", "bc ab [x]"),
            (
                "[{{trim .sp}}] {{trimAll `$` `$5$`}} {{trimPrefix `-` `-x`}} "
                    + "{{trimSuffix `-` `x-`}}",
                "[x] 5 x x"
            ),
            ("{{trunc 5 .a}}|{{trunc -3 .a}}|{{trunc 8 .a}}", "Hello|界|Hello, \u{fffd}"),
            ("{{substr 0 5 .a}}|{{substr -1 2 .a}}|{{substr 7 -1 .a}}", "Hello|He|世界"),
            ("{{indent 2 `a\nb`}}|{{nindent 1 `a`}}", "  a\n  b|\n a"),
            (
                "{{repeat 3 `ab`}}|{{alignLeft 12 .a}}|{{alignRight 12 .a}}",
                "ababab|Hello, 世界   |   Hello, 世界"
            ),
            ("{{contains `ell` .a}} {{hasPrefix `He` .a}} {{hasSuffix `x` .a}}", "true true false"),
            ("{{default `-` .empty}}{{default `-` .n}}{{.missing | default 7}}", "-427"),
            (
                "{{b64enc .a}} {{b64dec `SGk`}} {{b64dec `!!`}}",
                "SGVsbG8sIOS4lueVjA== Hi illegal base64 data at input byte 0"
            ),
            ("{{urlencode .path}} {{urldecode `a%20b+c`}}", "%2Fa+b%3Fc%3Dd%26e a b c"),
            ("{{count `l+` .a}} {{regexReplaceAll `(l+)o` .a `<${1}>`}}", "1 He<ll>, 世界"),
            ("{{regexReplaceAllLiteral `l` .a `$1`}}", "He$1$1o, 世界"),
            (
                "{{$j := fromJson .json}}{{$j.name}} {{index $j.list 1}} {{$j.on}} {{$j.none}}",
                "x 2.5 true <no value>"
            ),
            ("{{range (fromJson .json).list}}[{{.}}]{{end}}", "[1][2.5][map[k:<nil>]]"),
            ("{{__line__}}|{{.a}}", "the line|Hello, 世界"),
            ("{{ printf `%-6s|%5.1f` .n 2.25 }}", "42    |  2.2"),
            ("{{if and (eq .n `42`) (ne .f ``)}}yes{{end}}", "yes"),
            ("{{eq `e\u{301}` `\u{e9}`}} {{ne `e\u{301}` `\u{e9}`}}", "false true"),
            ("{{with .n}}<{{.}}>{{end}}{{with .empty}}x{{else}}none{{end}}", "<42>none"),
            ("{{range $k, $v := .}}{{if eq $k `n`}}{{$k}}={{$v}}{{end}}{{end}}", "n=42"),
            ("{{$.n}} {{index . `n`}}", "42 42"),
        ])
    func texts(template: String, expected: String) throws {
        let text = try format(template)
        #expect(text == expected)
    }

    @Test(
        "numbers",
        arguments: [
            (
                "{{add .n 1 2}} {{sub .n 2}} {{mul .n 2 3}} {{div .n 5}} {{mod .n 5}}",
                "45 40 252 8 2"
            ),
            (
                "{{addf 0.1 0.2}} {{subf 1 0.9}} {{mulf 1.1 1.1}} {{divf 1 3}}",
                "0.3 0.1 1.21 0.3333333333333333"
            ),
            (
                "{{divf 2 3}} {{divf -2 3}} {{divf 10 4}} {{addf}}",
                "0.6666666666666667 -0.6666666666666667 2.5 0"
            ),
            ("{{max 1 .n 7}} {{min 1 .n 7}} {{maxf .f 2}} {{minf .f 2}}", "42 1 3.5 2"),
            ("{{ceil .f}} {{floor .f}} {{round 3.14159 2}} {{round -2.5 0}}", "4 3 3.14 -3"),
            (
                "{{int `12.9`}} {{int .f}} {{int `0x1F`}} {{int `010`}} {{int `x`}} "
                    + "{{float64 `1e3`}}",
                "12 3 31 8 0 1000"
            ),
            ("{{.d | duration}} {{duration_seconds `1m`}} {{bytes .b}}", "5400 60 1500"),
            ("{{mulf 1e200 1e-200}} {{addf 1e20 1}}", "1 1e+20"),
        ])
    func numbers(template: String, expected: String) throws {
        let text = try format(template)
        #expect(text == expected)
    }

    @Test(
        "times",
        arguments: [
            ("{{__timestamp__}}", "2022-06-27 18:05:24.12 +0000 UTC"),
            (
                "{{__timestamp__ | date `2006-01-02T15:04:05.000Z07:00`}}",
                "2022-06-27T18:05:24.120Z"
            ),
            (
                "{{toDateInZone `2006-01-02 15:04` `Africa/Algiers` `2023-03-10 02:32` | unixEpoch}}",
                "1678411920"
            ),
            (
                "{{$t := toDateInZone `2006-01-02 15:04` `Africa/Algiers` `2023-03-10 02:32`}}"
                    + "{{$t.Hour}} {{$t}} {{date `15:04 MST` $t}}",
                "2 2023-03-10 02:32:00 +0100 CET 01:32 UTC"
            ),
            (
                "{{toDateInZone `2006-01-02 15:04` `No/Where` `2023-03-10 02:32`}}",
                "2023-03-10 02:32:00 +0000 UTC"
            ),
            (
                "{{now | unixEpoch}} {{unixEpochMillis now}} {{unixEpochNanos now}}",
                "1700000000 1700000000000 1700000000000000000"
            ),
            ("{{date `Mon Jan _2 2006` (toDate `2006-01-02` `2021-11-02`)}}", "Tue Nov  2 2021"),
            ("{{toDate `2006-01-02` `nonsense`}}", "0001-01-01 00:00:00 +0000 UTC"),
            ("{{.t | toDate `2006-01-02T15:04:05Z07:00` | unixEpoch}}", "1678411960"),
            (
                "{{toDate `2006-01-02T15:04:05Z07:00` `2023-03-10T03:32:40+02:00` | unixEpoch}}",
                "1678411960"
            ),
            ("{{unixEpoch (toDate `2006-01-02` `9999-12-31`)}}", "253402214400"),
            ("{{date `2006` `what`}} {{date `2006` 0}}", "2023 1970"),
            ("{{unixToTime `1257894000`}}", "2009-11-10 23:00:00 +0000 UTC"),
            ("{{__timestamp__.Year}} {{__timestamp__.Month}} {{now.Unix}}", "2022 June 1700000000"),
            (
                "{{toDate `Jan 2 3:04PM 2006` `feb 3 11:05PM 2020` | date `2006-01-02 15:04`}}",
                "2020-02-03 23:05"
            ),
        ])
    func times(template: String, expected: String) throws {
        let text = try format(template)
        #expect(text == expected)
    }

    @Test(
        "failures are Go's",
        arguments: [
            ("{{ trunc `x` .a }}", "1:9: executing \"line\" at <`x`>: expected integer; found `x`"),
            (
                "{{ .n | trunc 1 | len | trunc 2 }}",
                "1:30: executing \"line\" at <2>: wrong type for value; expected string; got int"
            ),
            (
                "{{ unixEpoch .n }}",
                "1:13: executing \"line\" at <.n>: "
                    + "wrong type for value; expected time.Time; got string"
            ),
            (
                "{{ .a.b }}",
                "1:5: executing \"line\" at <.a.b>: can't evaluate field b in type string"
            ),
            (
                "{{ div 1 0 }}",
                "1:3: executing \"line\" at <div 1 0>: "
                    + "error calling div: runtime error: integer divide by zero"
            ),
            (
                "x\n {{ substr 3 1 .a }}",
                "2:4: executing \"line\" at <substr 3 1 .a>: error calling substr: "
                    + "runtime error: slice bounds out of range [3:1]"
            ),
            (
                "{{ duration `x` }}",
                "1:3: executing \"line\" at <duration `x`>: "
                    + "error calling duration: time: invalid duration \"x\""
            ),
            (
                "{{ bytes `3 zz` }}",
                "1:3: executing \"line\" at <bytes `3 zz`>: "
                    + "error calling bytes: unhandled size name: zz"
            ),
            (
                "{{ lower }}",
                "1:3: executing \"line\" at <lower>: wrong number of args for lower: want 1 got 0"
            ),
            (
                "{{ range .n }}{{ end }}",
                "1:9: executing \"line\" at <.n>: range can't iterate over 42"
            ),
            (
                "{{ repeat 99999999 .a }}",
                "1:3: executing \"line\" at <repeat 99999999 .a>: error calling repeat: "
                    + "the result is longer than 262144 bytes"
            ),
            (
                "{{ unixToTime `464` }}",
                "1:3: executing \"line\" at <unixToTime `464`>: error calling unixToTime: "
                    + "unable to parse time '464': %!w(<nil>)"
            ),
            (
                "{{ define `t` }}{{ .a.b }}{{ end }}{{ template `t` . }}",
                "1:21: executing \"t\" at <.a.b>: can't evaluate field b in type string"
            ),
        ])
    func failures(template: String, expected: String) throws {
        let text = try format(template)
        #expect(text == "error: template: line:" + expected)
        let run = try run(.lineFormat(template))
        #expect(run.line == Array("the line".utf8))
        #expect(run.labels.error == "TemplateFormatErr")
    }

    @Test(
        "templates that are none",
        arguments: [
            ("{{ nosuch }}", "1: function \"nosuch\" not defined"), ("{{", "1: unclosed action"),
            ("a\n{{ .a", "2: unclosed action"), ("{{ .a }", "1: unexpected \"}\" in operand"),
            ("{{ .a-b }}", "1: bad character U+002D '-'"),
            ("{{ len.a é-b }}", "1: bad character U+002D '-'"),
            ("{{ .a[0] }}", "1: bad character U+005B '['"),
            ("{{ .@timestamp }}", "1: unexpected \"@\" in operand"),
            ("{{ $a+1 }}", "1: bad character U+002B '+'"),
            ("{{ if .a }}x", "1: unexpected EOF"), ("{{ end }}", "1: unexpected {{end}}"),
            ("{{ $x }}", "1: undefined variable \"$x\""), ("{{ }}", "1: missing value for command"),
            ("{{ if }}{{ end }}", "1: missing value for if"),
            ("{{ \"a }}", "1: unterminated quoted string"),
            ("{{ .a | 1 }}", "1: non executable command in pipeline stage 2"),
            ("{{ (.a }}", "1: unclosed left paren"), ("{{ .a ) }}", "1: unexpected right paren"),
            ("{{ 1x }}", "1: bad number syntax: \"1x\""),
            ("{{ .a `b`c }}", "1: unexpected \"c\" in operand"),
            ("{{ break }}", "1: {{break}} outside {{range}}"),
            ("{{ .a\n.b", "2: unclosed action started at line:1"),
        ])
    func refusals(template: String, expected: String) {
        do {
            _ = try Pipeline(LogSelector(matchers: [], stages: [.lineFormat(template)]))
            Issue.record("no error for \(template)")
        } catch {
            #expect(
                error.description.hasSuffix(": invalid line template: template: line:" + expected))
        }
    }

    @Test("label_format sees labels as they were at its first template")
    func labelFormat() throws {
        let formats = [
            LabelFormat("m", .rename("n")), LabelFormat("f", .template("{{.m}}{{.n}}{{.f}}")),
            LabelFormat("g", .template("{{.f}}-{{upper .d}}")), LabelFormat("d", .rename("b")),
            LabelFormat("h", .template("{{.d}} {{.b}}")), LabelFormat("none", .rename("absent")),
            LabelFormat("bad", .template("{{.a.b}}")),
            LabelFormat("last", .template("{{.missing}}")),
        ]
        let labels = PipelineTables.dictionary(try run(.labelFormat(formats)).labelSet.all)
        #expect(labels["m"] == "42")
        #expect(labels["n"] == nil)
        #expect(labels["f"] == "423.5")
        #expect(labels["g"] == "3.5-1H30M")
        #expect(labels["d"] == "1.5 KB")
        #expect(labels["b"] == nil)
        #expect(labels["h"] == "1h30m 1.5 KB")
        #expect(labels["none"] == nil)
        #expect(labels["bad"] == nil)
        #expect(labels["last"]?.isEmpty == true)
        #expect(labels["__error__"] == "TemplateFormatErr")
    }

    @Test("label_format refuses a label twice, and __error__")
    func labelFormatRefusals() {
        func message(_ formats: [LabelFormat]) -> String {
            do {
                _ = try Pipeline(LogSelector(matchers: [], stages: [.labelFormat(formats)]))
                return ""
            } catch { return error.description }
        }
        #expect(
            message([LabelFormat("x", .rename("a")), LabelFormat("x", .rename("b"))]).hasSuffix(
                "multiple label name 'x' not allowed in a single format operation"))
        #expect(
            message([LabelFormat("__error__", .rename("a"))]).hasSuffix(
                "__error__ cannot be formatted"))
        #expect(
            message([LabelFormat("x", .template("{{"))]).hasSuffix(
                "invalid template for label 'x': template: label:1: unclosed action"))
    }

    @Test("lines of any bytes go through, and bounds hold")
    func bytes() throws {
        let run = try run(.lineFormat("<{{__line__}}>"), line: [0xff, 0x41])
        #expect(run.line == [0x3c, 0xff, 0x41, 0x3e])
        // Few steps, much work.
        let busy = try self.run(
            .lineFormat("{{range 9999}}{{$x := count `z` __line__}}{{end}}"),
            line: [UInt8](repeating: 65, count: 4000))
        #expect(busy.labels.errorDetails.hasSuffix("were given more than 16777216 bytes"))
        let endless = try self.run(.lineFormat("{{range 1000}}{{range 1000}}x{{end}}{{end}}"))
        #expect(endless.labels.errorDetails.hasSuffix("more than 100000 steps"))
        let long = try self.run(
            .lineFormat("{{range 99}}{{__line__}}{{end}}"),
            line: [UInt8](repeating: 65, count: 4000))
        #expect(long.labels.errorDetails.hasSuffix("the output is longer than 262144 bytes"))
    }

    /// Numbers at the ends of their range, and templates with a byte dropped, doubled or replaced.
    @Test(
        "whatever is written, the answer is a line or an error",
        arguments: [
            "{{add 9223372036854775807 1}}{{mul .n -9223372036854775808}}{{sub -9223372036854775808 1}}",
            "{{div -9223372036854775808 -1}}{{mod -9223372036854775808 -1}}{{int 1e300}}{{int `-`}}",
            "{{alignLeft -9223372036854775808 .a}}{{alignRight 9223372036854775807 .a}}",
            "{{trunc -9223372036854775808 .a}}{{trunc 9223372036854775807 .a}}{{round 1e308 400}}",
            "{{substr -9223372036854775808 -9223372036854775808 .a}}",
            "{{repeat 9223372036854775807 .a}}", "{{indent 9223372036854775807 `a`}}",
            "{{unixToTime `9999999999999`}}{{unixToTime `9999999999999999`}}{{unixToTime `-9999`}}",
            "{{date `2006-01-02 .000000000000` 9223372036854775807}}{{date `06` -9223372036854775808}}",
            "{{divf 1e308 1e-308}}{{mulf 1e308 1e308}}{{addf 1e308 1e-308}}{{subf 0.1 0.1}}",
            "{{ if (eq .n `42`) -}} {{.a | trunc 3 | upper}} {{- else if $.b }}{{range $i, $e := fromJson .json}}{{break}}{{end}}{{end}}",
            "{{ regexReplaceAll `(l+)o` .a `<${1}>` | printf `%-9.3s|%q` }}{{ toDate `Jan _2 15:04:05.999 MST` .t | unixEpoch }}",
            "{{define `t`}}{{$x := b64dec .a}}{{urldecode $x}}{{end}}{{template `t` .}}{{.a.b}}",
        ])
    func damaged(template: String) throws {
        let bytes = Array(template.utf8)
        var ends: Set<String> = []
        for index in stride(from: -1, to: bytes.count, by: 3) {
            var variants: [[UInt8]] = []
            if index < 0 {
                variants = [bytes]
            } else {
                for replacement: [UInt8] in [
                    [], [bytes[index], bytes[index]], [123], [125], [34], [40], [57], [46], [45],
                ] {
                    variants.append(bytes[..<index] + replacement + bytes[(index + 1)...])
                }
                variants.append(Array(bytes[..<index]))
            }
            for variant in variants {
                let text = String(decoding: variant, as: UTF8.self)
                do {
                    let pipeline = try Pipeline(
                        LogSelector(matchers: [], stages: [.lineFormat(text)]))
                    let run = PipelineRun(pipeline)
                    let stream = run.forStream(PipelineTables.labels(Self.labels))
                    #expect(run.process(timestamp: Self.time, line: [65], of: stream))
                    ends.insert(run.labels.hasError ? "error" : "line")
                } catch { ends.insert("refused") }
            }
        }
        #expect(ends.contains("refused"))
    }
}
