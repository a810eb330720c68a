import GoTemplate
import Model
import Testing

@Suite("Alert templates")
struct AlertTemplateTests {
    static let samples = [
        TemplateSample(labels: ["__name__": "m", "instance": "b", "v": "1"], value: 11),
        TemplateSample(labels: ["__name__": "m", "instance": "a", "v": "2"], value: 21),
    ]

    static let environment = TemplateEnvironment(
        now: TimestampMS(1_700_000_000_500), externalURL: "https://mon.example/petrel",
        externalLabels: ["cluster": "eu"],
        regex: TemplateRegex(
            matches: { (pattern, text) throws(GoTemplateError) in text.hasPrefix(pattern) },
            replaceAll: { (pattern, replacement, text) throws(GoTemplateError) in
                text.split(separator: pattern, omittingEmptySubsequences: false)
                    .joined(separator: replacement)
            }),
        query: TemplateEnvironment.answers(["m": samples, "none": []]))

    private func expand(_ source: String, value: Double = 0) -> String {
        do throws(GoTemplateError) {
            return try AlertTemplate(source).expand(
                labels: ["instance": "db.example:9100", "job": "node"], value: value,
                Self.environment)
        } catch {
            return "error: \(error)"
        }
    }

    @Test(
        "data",
        arguments: [
            ("{{ $labels.instance }} of {{ .Labels.job }}", "db.example:9100 of node"),
            ("[{{ $labels.absent }}]", "[]"), ("{{ $value }} {{ .Value }}", "0.25 0.25"),
            ("{{ $externalLabels.cluster }} {{ $externalURL }}", "eu https://mon.example/petrel"),
            ("no action", "no action"),
            ("{{ externalURL }} {{ pathPrefix }}", "https://mon.example/petrel /petrel"),
            ("{{ with query \"m\" }}{{ . | first | value }}{{ end }}", "11"),
            ("{{ range query \"m\" }}{{ .Labels.instance }}={{ .Value }} {{ end }}", "b=11 a=21 "),
            (
                "{{ range sortByLabel \"instance\" (query \"m\") }}{{ label \"v\" . }}{{ end }}",
                "21"
            ),
            ("{{ if query \"none\" }}x{{ else }}nothing{{ end }}", "nothing"),
            (
                "{{ define \"t\" }}{{ .arg1 }}-{{ .arg0 }}{{ end }}{{ template \"t\" (args 1 2) }}",
                "2-1"
            ),
            (
                "{{ $labels.instance | stripPort }} {{ stripDomain $labels.instance }}",
                "db.example db:9100"
            ),
            ("{{ stripPort \"[::1]:80\" }} {{ stripDomain \"10.0.0.1:80\" }}", "::1 10.0.0.1:80"),
            ("{{ reReplaceAll \".\" \"-\" \"a.b\" }} {{ match \"a\" \"ab\" }}", "a-b true"),
            (
                "{{ toUpper \"aé\" }} {{ toLower \"AB\" }} {{ title \"two words\" }}",
                "AÉ ab Two Words"
            ),
            ("{{ tableLink \"up == 0\" }}", "/graph?g0.expr=up+%3D%3D+0&g0.tab=1"),
            ("{{ graphLink \"up\" }} {{ safeHtml \"<b>\" }}", "/graph?g0.expr=up&g0.tab=0 <b>"),
            ("{{ now }} {{ parseDuration \"1h30m\" }}", "1.7000000005e+09 5400"),
            (
                "{{ 90.5 | toDuration }} {{ (toTime 1435065584.128).Format \"02 Jan 2006 15:04\" }}",
                "1m30.5s 23 Jun 2015 13:19"
            ),
            ("{{ printf \"%.2f\" $value }}%", "0.25%"), ("{{ urlQueryEscape \"a b\" }}", "a+b"),
        ])
    func data(source: String, output: String) { #expect(expand(source, value: 0.25) == output) }

    @Test(
        "numbers for people",
        arguments: [
            ("humanize", 0, "0"), ("humanize", 1_234_567, "1.235M"), ("humanize", 0.00123, "1.23m"),
            ("humanize", -999, "-999"), ("humanize", .infinity, "+Inf"),
            ("humanize", 1e27, "1000Y"),
            ("humanize1024", 1_048_576, "1Mi"), ("humanize1024", 1, "1"),
            ("humanize1024", 1500, "1.465ki"),
            ("humanizeDuration", 0, "0s"), ("humanizeDuration", 1, "1s"),
            ("humanizeDuration", 60, "1m 0s"), ("humanizeDuration", 93784, "1d 2h 3m 4s"),
            ("humanizeDuration", 0.5, "500ms"), ("humanizeDuration", -3661, "-1h 1m 1s"),
            ("humanizeDuration", 12.345, "12.35s"), ("humanizeDuration", .nan, "NaN"),
            ("humanizePercentage", 0.12345, "12.35%"), ("humanizePercentage", 1, "100%"),
            ("humanizeTimestamp", 1435065584.128, "2015-06-23 13:19:44.128 +0000 UTC"),
            ("humanizeTimestamp", 0, "1970-01-01 00:00:00 +0000 UTC"),
            ("humanizeTimestamp", .infinity, "+Inf"),
        ] as [(String, Double, String)])
    func humanize(function: String, value: Double, output: String) {
        #expect(expand("{{ $value | \(function) }}", value: value) == output)
    }

    @Test(
        "mistakes are found before an alert fires",
        arguments: ["{{ $label.foo }}", "{{ frob 1 }}", "{{ if }}x{{ end }}", "{{ $labels.a "])
    func parse(source: String) {
        #expect(throws: GoTemplateError.self) { try AlertTemplate(source) }
    }

    @Test("a query that has not been run is asked for")
    func needsQuery() throws {
        let template = try AlertTemplate("{{ query \"up\" | first | value }}")
        #expect(throws: GoTemplateError.needsQuery("up")) {
            try template.expandOrExplain(labels: .empty, value: 0, Self.environment)
        }
        #expect(throws: GoTemplateError.needsQuery("up")) {
            try template.expand(
                labels: .empty, value: 0, TemplateEnvironment(now: TimestampMS(0)))
        }
    }

    @Test("a failed expansion is told in the text")
    func explains() throws {
        let template = try AlertTemplate("{{ query \"none\" | first | value }}")
        let text = try template.expandOrExplain(labels: .empty, value: 0, Self.environment)
        #expect(
            text == "<error expanding template: line 1: error calling first: "
                + "first() called on vector with no elements>")
    }
}
