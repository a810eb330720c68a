import GoTemplate
import Model
import Testing

/// Whatever a person types, the answer is a text or an error.
@Suite("Damaged templates")
struct DamagedTemplateTests {
    static let sources = [
        "{{ if gt (len .Alerts) 0 -}} a {{- else if eq .x \"y\" }}{{ range $i, $e := .Alerts }}{{ break }}{{ end }}{{ end }}",
        "{{define \"t\"}}{{$x := printf \"%-5.2f|%q\" 1.5 `r`}}{{$x = '\\n'}}{{end}}{{template \"t\" .}}",
        "{{ $labels.instance | reReplaceAll \"a\" \"b\" | toUpper }} {{/* c */}} {{ 0x1F | humanize }}",
        "{{ with $v := (query \"up\") }}{{ . | first | value | humanizeDuration }}{{ end }}{{ slice \"abc\" 1 2 }}",
    ]

    @Test("bytes dropped, doubled or replaced", arguments: sources)
    func damaged(source: String) {
        let bytes = Array(source.utf8)
        var parsed = 0
        var refused = 0
        for index in stride(from: 0, to: bytes.count, by: 2) {
            var variants: [[UInt8]] = []
            for replacement: [UInt8] in [
                [], [bytes[index], bytes[index]], [UInt8(ascii: "{")], [UInt8(ascii: "\"")],
                [UInt8(ascii: "(")], [UInt8(ascii: "9")], [0xff], [UInt8(ascii: "-")],
            ] {
                variants.append(bytes[..<index] + replacement + bytes[(index + 1)...])
            }
            variants.append(Array(bytes[..<index]))
            for variant in variants {
                do throws(GoTemplateError) {
                    let template = try AlertTemplate(String(decoding: variant, as: UTF8.self))
                    parsed += 1
                    _ = try template.expandOrExplain(
                        labels: ["instance": "a"], value: 1,
                        TemplateEnvironment(now: TimestampMS(0)))
                } catch {
                    refused += 1
                }
            }
        }
        #expect(parsed > 0)
        #expect(refused > 0)
    }

    @Test(
        "times at the ends of their range print",
        arguments: [Int64.min, -1, 0, 999_999_999, Int64.max])
    func extremes(nanoseconds: Int64) {
        #expect(TemplateValue.time(TimestampNS(nanoseconds)).text.hasSuffix(" +0000 UTC"))
        #expect(TemplateValue.duration(nanoseconds: nanoseconds).text.hasSuffix("s"))
    }
}
