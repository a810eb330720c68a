import Routing
import Testing
import YAMLDocument

/// Whatever a person types, the answer is a configuration or an error with its place.
@Suite("Damaged configurations")
struct DamagedConfigurationTests {
    @Test("bytes dropped or replaced")
    func damaged() {
        let bytes = Array(AlertingConfigurationTests.text.utf8)
        var refused = 0
        for index in stride(from: 0, to: bytes.count, by: 19) {
            for replacement: [UInt8] in [
                [], [UInt8(ascii: "*")], [UInt8(ascii: "{")], [0xff], [10],
            ] {
                let damaged = Array(bytes[..<index]) + replacement + bytes[(index + 1)...]
                do throws(YAMLError) {
                    _ = try AlertingConfiguration.parse(
                        String(decoding: damaged, as: UTF8.self), file: "a.yaml")
                } catch {
                    refused += 1
                    #expect(error.line > 0 && error.column > 0 && !error.message.isEmpty)
                }
            }
        }
        #expect(refused > 30)
    }
}
