import GoTemplate
import Model
import Testing

/// Outputs taken from Go itself, by way of promtool 2.42, over the series
/// `up{instance="i:1",job="j"} 1234567.5`.
@Suite("Templates as Go expands them")
struct GoOutputTests {
    static let series: Labels = ["__name__": "up", "instance": "i:1", "job": "j"]

    static let cases: [(String, String)] = [
        (
            "{{printf \"%v %s %d %t\" \"a\" \"b\" 3 true}}",
            "a b 3 true"
        ),
        (
            "{{printf \"%5d|%-5d|%05d\" 7 7 -7}}",
            "    7|7    |-0007"
        ),
        (
            "{{printf \"%q %x %X\" \"a\\\"b\" 255 255}}",
            "\"a\\\"b\" ff FF"
        ),
        (
            "{{printf \"%+d %c %U\" 3 65 65}}",
            "+3 A U+0041"
        ),
        (
            "{{printf \"%f %.2f %8.1f\" 1.5 2.345 9.96}}",
            "1.500000 2.35     10.0"
        ),
        (
            "{{printf \"%e %g %.3g\" 12345.678 0.00001 1234.5}}",
            "1.234568e+04 1e-05 1.23e+03"
        ),
        (
            "{{printf \"%s %d\" 1 \"a\"}}",
            "%!s(int=1) %!d(string=a)"
        ),
        (
            "{{printf \"%d %d\" 1}}",
            "1 %!d(MISSING)"
        ),
        (
            "{{printf \"%d\" 1 2}}",
            "1%!(EXTRA int=2)"
        ),
        (
            "{{printf \"100%% %.2s %6s|\" \"abc\" \"x\"}}",
            "100% ab      x|"
        ),
        (
            "{{printf \"%v %v\" 1.0 1e21}}",
            "1 1e+21"
        ),
        (
            "{{printf \"%*d\" 4 7}}",
            "   7"
        ),
        (
            "{{printf \"%T\" 1.5}}",
            "float64"
        ),
        (
            "{{printf \"%!\" 1}}",
            "%!!(int=1)"
        ),
        (
            "{{printf \"%6.2f%%\" 12.345}}",
            " 12.35%"
        ),
        (
            "{{1234567.0}} {{123456.0}} {{0.00001}} {{1e20}} {{123456789.125}} {{1000000.0}}",
            "1.234567e+06 123456 1e-05 1e+20 1.23456789125e+08 1e+06"
        ),
        (
            "{{print 1 2 \"a\" 3}}|{{println 1 \"a\"}}",
            "1 2a3|1 a\n"
        ),
        (
            "{{html \"<a b=%cc%c>\"}}",
            "&lt;a b=%cc%c&gt;"
        ),
        (
            "{{js \"it is <b>\\n=&\"}}",
            "it is \\u003Cb\\u003E\\u000A\\u003D\\u0026"
        ),
        (
            "{{urlquery \"a b&c/é\"}}",
            "a+b%26c%2F%C3%A9"
        ),
        (
            "{{and 1 0 2}} {{or 0 \"\" \"x\"}}",
            "0 x"
        ),
        (
            "{{eq 1 2 1}} {{ne 1 2}} {{lt 1 2}} {{le 2 2}} {{gt 1.5 1.0}} {{ge \"a\" \"b\"}}",
            "true true true true true false"
        ),
        (
            "{{slice \"web\" 1}} {{len \"é\"}} {{index \"abc\" 1}}",
            "eb 2 98"
        ),
        (
            "{{ $value }} {{ $labels }} {{ $labels.absent }}|",
            "1.2345675e+06 map[__name__:up instance:i:1 job:j] |"
        ),
        (
            "{{ \"db.example:9100\" | stripPort }} {{ stripDomain \"db.example:9100\" }} {{ stripDomain \"10.0.0.1:80\" }} {{ stripPort \"[::1]:80\" }}",
            "db.example db:9100 10.0.0.1:80 ::1"
        ),
        (
            "{{ title \"two words it''s\" }}",
            "Two Words It''S"
        ),
        (
            "{{ tableLink \"up == 0\" }} {{ graphLink \"up\" }}",
            "/graph?g0.expr=up+%3D%3D+0&g0.tab=1 /graph?g0.expr=up&g0.tab=0"
        ),
        (
            "{{ parseDuration \"1h30m\" }}",
            "5400"
        ),
        (
            "{{ (toTime 1435065584.128).Format \"02 Jan 2006 15:04\" }}",
            "23 Jun 2015 13:19"
        ),
        (
            "{{ 90.5 | humanizeDuration }} {{ 0.5 | humanizeDuration }} {{ -3661.0 | humanizeDuration }} {{ 93784.0 | humanizeDuration }} {{ 12.345 | humanizeDuration }}",
            "1m 30s 500ms -1h 1m 1s 1d 2h 3m 4s 12.35s"
        ),
        (
            "{{ 1234567.0 | humanize }} {{ 0.00123 | humanize }} {{ 1e27 | humanize }} {{ 1500.0 | humanize1024 }} {{ 0.12345 | humanizePercentage }} {{ 1435065584.128 | humanizeTimestamp }}",
            "1.235M 1.23m 1000Y 1.465ki 12.35% 2015-06-23 13:19:44.128 +0000 UTC"
        ),
        (
            "{{ with query \"up\" }}{{ . | first | value }}{{ end }}",
            "1.2345675e+06"
        ),
        (
            "{{ range $i, $e := query \"up\" }}{{ $i }}{{ $e.Labels }}{{ end }}",
            "0map[__name__:up instance:i:1 job:j]"
        ),
        (
            "{{ index $labels \"job\" }}",
            "j"
        ),
        (
            "{{ define \"t\" }}{{ .arg1 }}-{{ .arg0 }}{{ end }}{{ template \"t\" (args 1 2) }}",
            "2-1"
        ),
        (
            "{{ print nil }}",
            "<nil>"
        ),
        (
            "{{ args 1 \"a\" }}",
            "map[arg0:1 arg1:a]"
        ),
        (
            "{{ toUpper \"aß\" }}",
            "Aß"
        ),
        (
            "{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ end }}{{ $x }}",
            "2"
        ),
        (
            "{{ printf \"%q\" 65 }} {{ printf \"%x\" \"hi\" }} {{ printf \"%t\" 1 }} {{ printf \"%05.1f\" -2.25 }} {{ printf \"%+.1e\" 12345.0 }} {{ printf \"%#x\" 255 }} {{ printf \"%6.3v\" 3.14159 }}",
            "'A' 6869 %!t(int=1) -02.2 +1.2e+04 0xff   3.14"
        ),
        (
            "{{ printf \"%-8q|\" \"a\" }} {{ printf \"%o %b\" 8 5 }} {{ printf \"% d\" 5 }} {{ printf \"%s\" 1.5 }} {{ printf \"%d\" 1.5 }} {{ printf \"%v\" true }} {{ printf \"%08.3f\" 3.14159 }} {{ printf \"%.0f\" 2.5 }}",
            "\"a\"     | 10 101  5 %!s(float64=1.5) %!d(float64=1.5) true 0003.142 2"
        ),
    ]

    @Test("the same text", arguments: cases)
    func same(source: String, output: String) throws {
        let environment = TemplateEnvironment(
            now: TimestampMS(0),
            query: TemplateEnvironment.answers([
                "up": [TemplateSample(labels: Self.series, value: 1_234_567.5)]
            ]))
        let text = try AlertTemplate(source).expand(
            labels: Self.series, value: 1_234_567.5, environment)
        #expect(text == output)
    }
}
