import Exposition
import Model
import Testing

/// What a scraper takes and refuses, line by line.
@Suite("Reading expositions")
struct ExpositionParserTests {
    struct Accepted: Sendable, CustomTestStringConvertible {
        var format: ExpositionFormat
        var text: String
        /// Labels, value and timestamp of each sample.
        var samples: [(labels: Labels, value: Double, timestamp: Int64?)]
        var testDescription: String { text }

        init(
            _ format: ExpositionFormat, _ text: String,
            _ samples: [(labels: Labels, value: Double, timestamp: Int64?)]
        ) {
            self.format = format
            self.text = text
            self.samples = samples
        }
    }

    static let accepted: [Accepted] = [
        Accepted(.prometheusText, "", []),
        Accepted(.prometheusText, "\n \t\n", []),
        Accepted(
            .prometheusText, "load 1.5\nload 2 1700000000123\n",
            [
                (["__name__": "load"], 1.5, nil),
                (["__name__": "load"], 2, 1_700_000_000_123),
            ]),
        Accepted(.prometheusText, "last 7", [(["__name__": "last"], 7, nil)]),
        Accepted(
            .prometheusText, " \tq { a = \"1\" ,b=\"2\", } \t3  4 \n",
            [(["__name__": "q", "a": "1", "b": "2"], 3, 4)]),
        Accepted(
            .prometheusText, "q{a=\"1\"b=\"2\"}3\n",
            [(["__name__": "q", "a": "1", "b": "2"], 3, nil)]
        ),
        Accepted(
            .prometheusText, "q{a=\"\",b=\"two\nlines\"} 1\n",
            [(["__name__": "q", "b": "two\nlines"], 1, nil)]),
        Accepted(
            .prometheusText, #"q{a="\\ \" \n \x"} 1"# + "\n",
            [(["__name__": "q", "a": "\\ \" \n \\x"], 1, nil)]),
        Accepted(
            .prometheusText, "# HELPless\n#\n#x\n# TYPEwriter\n# HELP\nq 1\n",
            [(["__name__": "q"], 1, nil)]),
        Accepted(
            .prometheusText, "{\"größe.b\",\"c d\"=\"e\"} 1\n{f=\"g\",\"h.i\"} 2\n",
            [
                (["__name__": "größe.b", "c d": "e"], 1, nil),
                (["__name__": "h.i", "f": "g"], 2, nil),
            ]),
        Accepted(
            .prometheusText, "a -Inf\nb +inf\nc 1e3\nd -0\ne .5\nf 5.\n",
            [
                (["__name__": "a"], -.infinity, nil), (["__name__": "b"], .infinity, nil),
                (["__name__": "c"], 1000, nil), (["__name__": "d"], -0.0, nil),
                (["__name__": "e"], 0.5, nil), (["__name__": "f"], 5, nil),
            ]),
        Accepted(.openMetrics, "# EOF", []),
        Accepted(.openMetrics, "# EOF\n", []),
        Accepted(
            .openMetrics, "a{b=\"c # d\",} 1 1700000000.123\na:b 0 -1.5e0\n# EOF\n",
            [
                (["__name__": "a", "b": "c # d"], 1, 1_700_000_000_123),
                (["__name__": "a:b"], 0, -1500),
            ]),
        // Times a thousand this is 1520872607122.9998: not cut to 122.
        Accepted(
            .openMetrics, "a 1 1520872607.123\nb 1 1e300\n# EOF\n",
            [(["__name__": "a"], 1, 1_520_872_607_123), (["__name__": "b"], 1, .max)]),
        Accepted(
            .openMetrics, "# TYPE h histogram\nh_bucket{le=\"1\"} 0\nh_bucket{le=\"1e3\"} 1\n# EOF",
            [
                (["__name__": "h_bucket", "le": "1.0"], 0, nil),
                (["__name__": "h_bucket", "le": "1000.0"], 1, nil),
            ]),
        Accepted(
            .prometheusText,
            "# TYPE s summary\ns{quantile=\"0\"} 1\n# TYPE g gauge\ng{quantile=\"0\",le=\"1\"} 1\n",
            [
                (["__name__": "s", "quantile": "0.0"], 1, nil),
                (["__name__": "g", "quantile": "0", "le": "1"], 1, nil),
            ]),
    ]

    @Test("takes", arguments: accepted)
    func takes(input: Accepted) throws {
        var parser = ExpositionParser(Array(input.text.utf8), input.format)
        var index = 0
        while let entry = try parser.next() {
            guard entry == .sample else { continue }
            let expect = try #require(
                index < input.samples.count ? input.samples[index] : nil, "a sample too many")
            #expect(try parser.labels() == expect.labels)
            #expect(parser.sample.value.bitPattern == expect.value.bitPattern)
            #expect(parser.sample.timestamp?.rawValue == expect.timestamp)
            index += 1
        }
        #expect(index == input.samples.count)
    }

    struct Refused: Sendable, CustomTestStringConvertible {
        var format: ExpositionFormat
        var text: String
        var line: Int
        var column: Int
        var reason: ExpositionError.Reason
        var testDescription: String { text }

        init(
            _ format: ExpositionFormat, _ text: String, _ line: Int, _ column: Int,
            _ reason: ExpositionError.Reason
        ) {
            self.format = format
            self.text = text
            self.line = line
            self.column = column
            self.reason = reason
        }
    }

    static let refusedText: [Refused] = [
        Refused(.prometheusText, "a", 1, 2, .expected("a value")),
        Refused(.prometheusText, "ok 1\na.b 1\n", 2, 2, .badNumber(".b")),
        Refused(.prometheusText, "a 0x1p-3\n", 1, 3, .badNumber("0x1p-3")),
        Refused(.prometheusText, "a 1_2\n", 1, 3, .badNumber("1_2")),
        Refused(.prometheusText, "a 1e999\n", 1, 3, .badNumber("1e999")),
        Refused(.prometheusText, "a 1\r\n", 1, 3, .badNumber("1\r")),
        Refused(.prometheusText, "a 1 1.5\n", 1, 5, .badTimestamp("1.5")),
        Refused(
            .prometheusText, "a 1 99999999999999999999\n", 1, 5,
            .badTimestamp("99999999999999999999")),
        Refused(.prometheusText, "a 1 # {x=\"y\"} 1\n", 1, 5, .badTimestamp("# {x=\"y\"} 1")),
        Refused(.prometheusText, "a{b='c'} 1\n", 1, 5, .expected("a label value in double quotes")),
        Refused(.prometheusText, "a{b} 1\n", 1, 4, .expected("= and a label value")),
        Refused(.prometheusText, "a{=\"b\"} 1\n", 1, 3, .expected("a label name")),
        Refused(.prometheusText, "a{,} 1\n", 1, 3, .expected("a label name")),
        Refused(.prometheusText, "a{b=\"c\n", 1, 5, .expected("a quote that closes a label value")),
        Refused(.prometheusText, "{a=\"b\"} 1\n", 1, 1, .noMetricName),
        Refused(.prometheusText, "a{\"b\"} 1\n", 1, 3, .secondMetricName),
        Refused(.prometheusText, "{\"a\",\"b\"} 1\n", 1, 6, .secondMetricName),
        Refused(.prometheusText, "{\"\"} 1\n", 1, 2, .expected("a label name")),
        Refused(.prometheusText, "\0a 1\n", 1, 1, .expected("a metric name or a comment")),
        Refused(.prometheusText, "# TYPE a unknown\n", 1, 10, .badType("unknown")),
        Refused(.prometheusText, "# TYPE a info\n", 1, 10, .badType("info")),
        Refused(.prometheusText, "# TYPE #\n", 1, 8, .expected("a metric name")),
        Refused(
            .prometheusText, "# HELP a.b c\n", 1, 9, .expected("a blank after the metric's name")),
    ]

    static let refusedOpenMetrics: [Refused] = [
        Refused(.openMetrics, "", 1, 1, .missingEOF),
        Refused(.openMetrics, "a 1\n", 2, 1, .missingEOF),
        Refused(.openMetrics, "a 1", 1, 4, .missingEOF),
        Refused(.openMetrics, "a 1\n\n# EOF\n", 2, 1, .blankLine),
        Refused(.openMetrics, "# EOF\nx", 2, 1, .dataAfterEOF),
        Refused(.openMetrics, "# EOF \n", 1, 6, .dataAfterEOF),
        Refused(
            .openMetrics, "# a comment\n# EOF\n", 1, 1, .expected("# HELP, # TYPE, # UNIT or # EOF")
        ),
        Refused(.openMetrics, " a 1\n# EOF\n", 1, 1, .expected("a metric name or a comment")),
        Refused(.openMetrics, "a  1\n# EOF\n", 1, 3, .expected("a value")),
        Refused(.openMetrics, "a{b=\"c\"}1\n# EOF\n", 1, 9, .expected("a blank and a value")),
        Refused(
            .openMetrics, "a{b=\"c\" } 1\n# EOF\n", 1, 8, .expected("a comma or a closing brace")),
        Refused(
            .openMetrics, "a{b=\"c\nd\"} 1\n# EOF\n", 1, 5,
            .expected("a quote that closes a label value")
        ),
        Refused(.openMetrics, "a 1 NaN\n# EOF\n", 1, 5, .badTimestamp("NaN")),
        Refused(.openMetrics, "a 1 # {\"b\"} 1\n# EOF\n", 1, 11, .expected("= and a label value")),
        Refused(
            .openMetrics, "a 1 #{} 1\n# EOF\n", 1, 4,
            .expected("an exemplar, ` # {name=\"value\"} value`, or the end of the line")),
        Refused(.openMetrics, "a 1 # {} 1 1 1\n# EOF\n", 1, 13, .expected("the end of the line")),
        Refused(.openMetrics, "# TYPE a untyped\n# EOF\n", 1, 10, .badType("untyped")),
        Refused(
            .openMetrics, "# HELP a\n# EOF\n", 1, 9, .expected("a blank after the metric's name")),
        Refused(
            .openMetrics, "# UNIT a_seconds econds\n# EOF\n", 1, 18,
            .unitIsNoSuffix(unit: "econds", metric: "a_seconds")),
    ]

    @Test("refuses with line and column", arguments: refusedText + refusedOpenMetrics)
    func refuses(input: Refused) {
        let error = #expect(throws: ExpositionError.self) {
            var parser = ExpositionParser(Array(input.text.utf8), input.format)
            while try parser.next() != nil {}
        }
        #expect(error?.reason == input.reason)
        #expect(error?.line == input.line)
        #expect(error?.column == input.column)
    }

    @Test(
        "what is no UTF-8 is refused, where it may stand",
        arguments: [
            Array("a{b=\"".utf8) + [0xff] + Array("\"} 1\n".utf8),
            Array("{\"a".utf8) + [0xc3] + Array("\"} 1\n".utf8),
            Array("# HELP a b".utf8) + [0xfe, 0x0a],
            Array("# TYPE \"a".utf8) + [0xfe] + Array("\" gauge\n".utf8),
            Array("a".utf8) + [0xff] + Array(" 1\n".utf8),
        ])
    func notUTF8(bytes: [UInt8]) {
        #expect(throws: ExpositionError.self) {
            var parser = ExpositionParser(bytes, .prometheusText)
            while try parser.next() != nil {}
        }
    }

    @Test("a label that is there twice, in either spelling")
    func duplicates() throws {
        for text in [
            "a{b=\"1\",b=\"2\"} 1\n", "a{b=\"1\",\"b\"=\"\"} 1\n", "a{__name__=\"b\"} 1\n",
        ] {
            var parser = ExpositionParser(Array(text.utf8), .prometheusText)
            #expect(try parser.next() == .sample)
            let error = #expect(throws: ExpositionError.self) { try parser.labels() }
            guard case .duplicateLabel = error?.reason else {
                Issue.record("\(String(describing: error)) for \(text)")
                continue
            }
        }
    }

    @Test("bounds on labels and on a line")
    func bounds() throws {
        let labels = (0..<9).map { "l\($0)=\"\"" }.joined(separator: ",")
        let limits = ExpositionParser.Limits(lineBytesMax: 200, labelsMax: 8)
        var parser = ExpositionParser(
            Array("a{\(labels)} 1\n".utf8), .prometheusText, limits: limits)
        var error = #expect(throws: ExpositionError.self) { try parser.next() }
        #expect(error?.reason == .tooManyLabels(max: 8))
        let long = "a{b=\"" + String(repeating: "x", count: 200) + "\"} 1\n"
        parser = ExpositionParser(Array(long.utf8), .prometheusText, limits: limits)
        error = #expect(throws: ExpositionError.self) { try parser.next() }
        #expect(error?.reason == .lineTooLong(bytesMax: 200))
        #expect(try parser.next() == nil, "after an error there is nothing")
    }

    @Test("blank lines are no part of the line behind them")
    func blankLines() throws {
        let limits = ExpositionParser.Limits(lineBytesMax: 20)
        let blank = String(repeating: " \n\t\n", count: 100)
        var parser = ExpositionParser(
            Array((blank + "a 1\n" + blank + "  # x\n" + blank + "\n").utf8), .prometheusText,
            limits: limits)
        #expect(try parser.next() == .sample)
        #expect(try parser.next() == .comment)
        #expect(try parser.next() == nil)
        let long = "a 1\n" + blank + "b{c=\"" + String(repeating: "x", count: 20) + "\"} 1\n"
        parser = ExpositionParser(Array(long.utf8), .prometheusText, limits: limits)
        #expect(try parser.next() == .sample)
        let error = #expect(throws: ExpositionError.self) { try parser.next() }
        #expect(error?.reason == .lineTooLong(bytesMax: 20))
        #expect(error?.line == 202)
    }

    @Test(
        "content types",
        arguments: [
            ("text/plain; version=0.0.4; charset=utf-8", .prometheusText),
            ("text/plain", .prometheusText),
            ("TEXT/Plain;version=1.0.0;escaping=allow-utf-8", .prometheusText),
            ("application/openmetrics-text; version=1.0.0; charset=utf-8", .openMetrics),
            ("application/json", nil), ("", nil), ("text/html", nil),
        ] as [(String, ExpositionFormat?)])
    func contentTypes(header: String, expect: ExpositionFormat?) {
        #expect(ExpositionFormat(contentType: header) == expect)
    }

    @Test("what our writer writes comes back", arguments: [1, 2, 3] as [UInt64])
    func roundTrip(seed: UInt64) throws {
        var random = Xorshift(seed)
        let texts = ["a", "b\\c", "d\"e", "f\ng", "größe", "{}", " ", "#", "h,i=", "\0"]
        for _ in 0..<200 {
            var points: [MetricFamily.Point] = []
            for index in 0..<Int(random.next() % 5) {
                let labels = Labels([
                    Label("index", String(index)),
                    Label("l" + texts[Int(random.next() % 10)], texts[Int(random.next() % 10)]),
                ])
                points.append(.init(labels, Double(bitPattern: random.next())))
            }
            let help = texts[Int(random.next() % 10)]
            let family = MetricFamily(
                "m." + texts[Int(random.next() % 10)], .gauge, help: help, points: points)
            var parser = ExpositionParser(ExpositionWriter.text([family]), .prometheusText)
            var found: [Labels: Double] = [:]
            while let entry = try parser.next() {
                switch entry {
                case .help(let metric, let text):
                    #expect(parser.text(metric) == family.name)
                    #expect(parser.help(text) == help)
                case .type(_, let type): #expect(type == .gauge)
                case .sample:
                    #expect(parser.text(parser.sample.name) == family.name)
                    found[try parser.labels().dropping(["__name__"])] = parser.sample.value
                case .unit, .comment: Issue.record("not written: \(entry)")
                }
            }
            #expect(found.count == points.count)
            for point in points {
                let value = try #require(found[point.labels])
                #expect(
                    value.bitPattern == point.value.bitPattern || value.isNaN && point.value.isNaN)
            }
        }
    }

    @Test("numbers: every spelling of our writer, and seventeen digits, to the bit")
    func numbers() throws {
        var random = Xorshift(7)
        for index in 0..<20_000 {
            let value =
                switch index % 3 {
                case 0: Double(bitPattern: random.next())
                case 1: Double(random.next() % 1_000_000_000) / 1000
                default: Double(random.next() % (1 << 54))
                }
            guard value.isFinite else { continue }
            for text in [GoFloat.text(value), "\(value)", "+000\(value.magnitude)"] {
                var parser = ExpositionParser(Array("a \(text)\n".utf8), .prometheusText)
                #expect(try parser.next() == .sample)
                let expect = text.first == "+" ? value.magnitude : value
                #expect(parser.sample.value.bitPattern == expect.bitPattern, "\(text)")
            }
        }
    }

    @Test(
        "broken texts end in an error or in order, and never past the text",
        arguments: [11, 12] as [UInt64])
    func mutations(seed: UInt64) {
        var random = Xorshift(seed)
        let whole = Array(
            """
            # HELP a_total b \\n c
            # TYPE a_total counter
            a_total{x="y\\"z",le="1"} 1.5e3 17 # {t="u"} 1 2
            {"q.r",s="t"} +Inf
            # UNIT a_total total
            # EOF

            """.utf8)
        let alphabet = Array("{}\"\\,=# \n\tae1.\0".utf8) + [0xff]
        for _ in 0..<20_000 {
            var bytes = whole
            for _ in 0...random.next() % 3 {
                let at = Int(random.next() % UInt64(bytes.count))
                switch random.next() % 3 {
                case 0: bytes[at] = alphabet[Int(random.next() % UInt64(alphabet.count))]
                case 1: bytes.remove(at: at)
                default: bytes.removeSubrange(at...)
                }
                if bytes.isEmpty { bytes = [0x0a] }
            }
            for format in [ExpositionFormat.prometheusText, .openMetrics] {
                var parser = ExpositionParser(bytes, format)
                do throws(ExpositionError) {
                    while let entry = try parser.next() {
                        guard entry == .sample else { continue }
                        #expect(bytes.indices.contains(parser.sample.series.lowerBound))
                        _ = try parser.labels()
                        _ = try parser.exemplar()
                    }
                } catch { #expect(error.line >= 1 && error.column >= 1) }
            }
            do throws(ExpositionError) {
                try OpenMetricsChecker.check(bytes)
            } catch { #expect(error.line >= 1 && error.column >= 1) }
        }
    }
}

struct Xorshift {
    private var state: UInt64
    init(_ seed: UInt64) { state = seed &* 0x9e37_79b9_7f4a_7c15 | 1 }
    mutating func next() -> UInt64 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return state
    }
}
