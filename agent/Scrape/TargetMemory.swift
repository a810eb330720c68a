import Exposition
package import Model
package import World

/// What the targets and the host's own readers had when the agent stopped, on disk, so that what is gone at the next start
/// ends with staleness markers: all of a target that is gone from the configuration, and of any other, and of the host,
/// what the first scrape does not bring. A file a target and one for the host, in the Prometheus text format; a crash
/// leaves none, and then series end by the lookback alone.
package struct TargetMemory: Sendable {
    private let tree: any WorldFileTree
    private let folder: String
    /// Bytes of one file, and files that are looked at.
    private static let fileBytesMax = 64 << 20
    private static let filesMax = 2 * ScrapeLimits.targetsMax
    private static let suffix = ".prom"
    /// Not a target's: it has another suffix.
    private static let hostFile = "host.series"

    package init(tree: any WorldFileTree, folder: String) {
        self.tree = tree
        self.folder = folder
    }

    /// Writes down `series` as what `target` has; blocks. A file that can't be written is left out: nothing depends on it
    /// but markers.
    package func remember(_ target: ScrapeTarget, _ series: [TargetSeries]) {
        write(series.lazy.map(\.labels), to: target.key + Self.suffix)
    }

    /// The same for `series` of the host's own readers.
    package func rememberHost(_ series: [Labels]) { write(series, to: Self.hostFile) }

    /// What the host's own readers had; forgets it. Blocks.
    package func takeHost() -> [Labels] {
        let path = folder + "/" + Self.hostFile
        defer { try? tree.remove(path) }
        return read(path) ?? []
    }

    private func write(_ series: some Collection<Labels>, to name: String) {
        guard !series.isEmpty else { return }
        var writer = ExpositionWriter()
        for labels in series {
            writer.writeSample(labels, of: labels.metricName, value: 0, at: TimestampMS(0))
        }
        let path = folder + "/" + name
        try? tree.makeDirectory(folder)
        try? tree.remove(path)
        do throws(FileError) {
            let file = try tree.open(path, .createNew)
            defer { file.close() }
            try file.write(writer.bytes, at: 0)
        } catch {
            try? tree.remove(path)
        }
    }

    /// The ends of what targets had that are not among `targets` any more, and what the others had, by their keys; forgets
    /// all files. Blocks.
    package func take(
        _ targets: [ScrapeTarget], at time: TimestampMS
    ) -> (ends: [TargetScrape], had: [String: [TargetSeries]]) {
        let keys = Dictionary(
            targets.map { ($0.key + Self.suffix, $0.key) }, uniquingKeysWith: { first, _ in first })
        var ends: [TargetScrape] = []
        var had: [String: [TargetSeries]] = [:]
        let names = ((try? tree.list(folder)) ?? []).filter { $0.hasSuffix(Self.suffix) }
        for name in names.sorted().prefix(Self.filesMax) {
            let path = folder + "/" + name
            defer { try? tree.remove(path) }
            guard let labels = read(path), !labels.isEmpty else { continue }
            let series = labels.map { TargetSeries(labels: $0, family: $0.metricName) }
            if let key = keys[name] {
                had[key] = series
                continue
            }
            ends.append(
                .end(
                    of: series, target: -1 - ends.count, name: "removed target", at: time,
                    isLast: true))
        }
        return (ends, had)
    }

    /// Nil for a file that is damaged or too large.
    private func read(_ path: String) -> [Labels]? {
        guard let bytes = try? tree.contents(path, bytesMax: Self.fileBytesMax),
            let text = try? ScrapedText(
                bytes, .prometheusText, samplesMax: ScrapeLimits.samplesMax)
        else { return nil }
        var series: Set<Labels> = []
        for index in text.values.indices {
            guard let labels = try? text.labels(index), !labels.metricName.isEmpty else {
                return nil
            }
            series.insert(labels)
        }
        return Array(series)
    }
}
