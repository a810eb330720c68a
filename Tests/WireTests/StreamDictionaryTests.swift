import Model
import Testing
import Wire

@Suite("stream dictionaries")
struct StreamDictionaryTests {
    @Test("metadata is that of a family whose name has the same bytes")
    func families() throws {
        // One string to Swift.
        let names = ["caf\u{e9}", "cafe\u{301}"]
        var builder = MetricsPayloadBuilder(timestamp: TimestampMS(15_000))
        builder.define(1, ["__name__": names[0]], .gauge, help: "One.")
        builder.define(2, ["__name__": names[1]], .gauge, help: nil)
        builder.define(3, ["__name__": names[0], "a": "b"], .gauge, help: nil)
        for id in UInt32(1)...3 { builder.add(id, 1) }
        var dictionary = StreamDictionary(number: 1)
        let problems = try MetricsPayload.decode(
            builder.finish(), dictionary: &dictionary
        ).problems
        #expect(problems.isEmpty)
        let helps = (UInt32(1)...3).map { dictionary.series($0)?.metadata.help }
        #expect(helps == ["One.", "", "One."])
    }
}
