package import Model

/// What a sealed block has beside its columns, to be ruled out by.
package struct BlockFilters: Sendable {
    /// Over all ids and all fields' values.
    package let ids: [UInt8]
    package let trigrams: [UInt8]
    /// Hashes of its traces, UUIDs and fields that name traces: filters of traces are made of them.
    package let traces: Set<UInt64>
    package let hasLongRun: Bool

    private static let bitsPerId = 12

    package init(_ columns: LogBlockColumns, _ entries: some Collection<LogEntry>) {
        let odd =
            columns.oddLines.isEmpty ? [] : entries.map(\.line).filter { !LineText.isPlain($0) }
        let tokens = Self.tokens(columns.text, odd, entries.lazy.map(\.metadata))
        ids = BlockFilter(tokens.hashes, bitsPerHash: Self.bitsPerId).bytes
        trigrams = TrigramFilter(text: columns.text, odd: odd).bytes
        traces = tokens.traces
        hasLongRun = tokens.hasLongRun
    }

    /// The ids of lines, each ended by the terminator, of odd lines, and of fields.
    package static func tokens(
        _ text: [UInt8], _ odd: [[UInt8]], _ metadata: some Sequence<Labels>
    ) -> LogTokens {
        var tokens = LogTokens()
        text.withUnsafeBufferPointer { tokens.insert(line: $0) }
        for line in odd { line.withUnsafeBufferPointer { tokens.insert(line: $0) } }
        for labels in metadata {
            for label in labels {
                if LogProbe.traceFields.contains(label.name) {
                    tokens.insertTrace(label.value)
                } else {
                    tokens.insert(label.value)
                }
            }
        }
        return tokens
    }
}
