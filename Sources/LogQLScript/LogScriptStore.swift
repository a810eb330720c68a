import LinearRegex
import LogQL
import Model

/// The entries that a script has loaded.
struct LogScriptStore {
    /// Entries of a page, few, so that queries go from one page to the next.
    private static let pageEntries = 64

    private var streams: [Labels] = []
    private var entries: [Labels: [LogEntry]] = [:]

    mutating func clear() { self = LogScriptStore() }

    mutating func add(_ load: LogScriptLoad) {
        if entries[load.stream] == nil { streams.append(load.stream) }
        entries[load.stream, default: []] += load.entries
    }

    /// Calls `body` with pages of a selection, oldest entries first. Throws what it throws.
    func forEachPage(
        _ selection: MetricSelection,
        _ body: ([LogEntry], [Int], [Labels]) throws(MetricError) -> Void
    ) throws(MetricError) {
        var found: [(entry: LogEntry, stream: Int)] = []
        for (index, stream) in streams.enumerated()
        where selection.matchers.allSatisfy({ Self.matches(stream, $0) }) {
            for entry in entries[stream] ?? []
            where entry.timestamp >= selection.from && entry.timestamp < selection.to {
                found.append((entry, index))
            }
        }
        let order = found.indices.sorted {
            let (a, b) = (found[$0].entry.timestamp, found[$1].entry.timestamp)
            return a == b ? $0 < $1 : a < b
        }
        var start = 0
        while start < order.count {
            let page = order[start..<min(start + Self.pageEntries, order.count)]
            try body(page.map { found[$0].entry }, page.map { found[$0].stream }, streams)
            start += Self.pageEntries
        }
    }

    private static func matches(_ stream: Labels, _ matcher: LabelMatcher) -> Bool {
        let value = stream[matcher.name]
        switch matcher.operation {
        case .equal: return value == matcher.value
        case .notEqual: return value != matcher.value
        case .matchesRegex, .notMatchesRegex:
            guard let regex = try? LinearRegex(matcher.value, anchored: true) else { return false }
            return regex.matches(value) == (matcher.operation == .matchesRegex)
        }
    }
}
