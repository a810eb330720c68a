/// Makes the `Dictionary` messages that a new connection needs before its first batch of a dictionary.
package enum DictionaryMessages {
    /// Bytes after which a message ends; the largest is one definition longer.
    static let messageBytesMax = 512 * 1024

    /// The definitions in earlier metrics payloads of dictionary `number`, in order; none where they hold none.
    /// A payload that doesn't decode is passed over: its definitions are lost, its samples were refused already.
    package static func make(
        _ number: UInt64, metricsPayloads payloads: [[UInt8]]
    ) -> [Petrel_Fleet_V1_Dictionary] {
        make(number, payloads) { payload, messages in
            let decoded: Petrel_Fleet_V1_MetricsBatch? = try? parsed(payload, "MetricsBatch")
            for definition in decoded?.definitions ?? [] {
                let texts = definition.help.utf8.count + definition.unit.utf8.count
                let bytes = definition.labels.reduce(texts) { $0 + $1.utf8.count }
                messages.add(bytes) { $0.series.append(definition) }
            }
        }
    }

    /// The same for log payloads.
    package static func make(
        _ number: UInt64, logPayloads payloads: [[UInt8]]
    ) -> [Petrel_Fleet_V1_Dictionary] {
        make(number, payloads) { payload, messages in
            let decoded: Petrel_Fleet_V1_LogBatch? = try? parsed(payload, "LogBatch")
            for definition in decoded?.definitions ?? [] {
                let bytes = definition.labels.reduce(0) { $0 + $1.utf8.count }
                messages.add(bytes) { $0.streams.append(definition) }
            }
        }
    }

    private static func make(
        _ number: UInt64, _ payloads: [[UInt8]], _ collect: ([UInt8], inout Messages) -> Void
    ) -> [Petrel_Fleet_V1_Dictionary] {
        var messages = Messages(number: number)
        for payload in payloads { collect(payload, &messages) }
        return messages.list
    }

    private struct Messages {
        var number: UInt64
        var list: [Petrel_Fleet_V1_Dictionary] = []
        var bytes = 0

        mutating func add(_ size: Int, _ body: (inout Petrel_Fleet_V1_Dictionary) -> Void) {
            if list.isEmpty || bytes > DictionaryMessages.messageBytesMax {
                var message = Petrel_Fleet_V1_Dictionary()
                message.dictionary = number
                list.append(message)
                bytes = 0
            }
            bytes += size + 16
            body(&list[list.count - 1])
        }
    }
}
