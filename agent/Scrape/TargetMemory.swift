import Exposition
package import Model
package import World

/// What the targets had when the agent stopped, on disk, so that a target which is gone from the configuration at the next
/// start ends as one that is removed: with staleness markers. A file a target, in the Prometheus text format; a crash
/// leaves none, and then series end by the lookback alone.
package struct TargetMemory: Sendable {
    private let tree: any WorldFileTree
    private let folder: String
    /// Bytes of one file, and files that are looked at.
    private static let fileBytesMax = 64 << 20
    private static let filesMax = 2 * ScrapeLimits.targetsMax
    private static let suffix = ".prom"

    package init(tree: any WorldFileTree, folder: String) {
        self.tree = tree
        self.folder = folder
    }

    /// Writes down `series` as what `target` has; blocks. A file that can't be written is left out: nothing depends on it
    /// but markers.
    package func remember(_ target: ScrapeTarget, _ series: [TargetSeries]) {
        guard !series.isEmpty else { return }
        var writer = ExpositionWriter()
        for one in series {
            writer.writeSample(
                one.labels, of: one.labels.metricName, value: 0, at: TimestampMS(0))
        }
        let path = folder + "/" + target.key
        try? tree.makeDirectory(folder)
        try? tree.remove(path + Self.suffix)
        do throws(FileError) {
            let file = try tree.open(path + Self.suffix, .createNew)
            defer { file.close() }
            try file.write(writer.bytes, at: 0)
        } catch {
            try? tree.remove(path + Self.suffix)
        }
    }

    /// The ends of what targets had that are not among `targets` any more; forgets all files. Blocks.
    package func takeRemoved(_ targets: [ScrapeTarget], at time: TimestampMS) -> [TargetScrape] {
        let kept = Set(targets.map { $0.key + Self.suffix })
        var ends: [TargetScrape] = []
        let names = ((try? tree.list(folder)) ?? []).filter { $0.hasSuffix(Self.suffix) }
        for name in names.sorted().prefix(Self.filesMax) {
            let path = folder + "/" + name
            defer { try? tree.remove(path) }
            guard !kept.contains(name), let series = read(path), !series.isEmpty else { continue }
            ends.append(
                .end(
                    of: series, target: -1 - ends.count, name: "removed target", at: time,
                    isLast: true))
        }
        return ends
    }

    /// Nil for a file that is damaged or too large.
    private func read(_ path: String) -> [TargetSeries]? {
        guard let bytes = try? tree.contents(path, bytesMax: Self.fileBytesMax),
            let text = try? ScrapedText(
                bytes, .prometheusText, samplesMax: ScrapeLimits.samplesMax)
        else { return nil }
        var series: [Labels: TargetSeries] = [:]
        for index in text.values.indices {
            guard let labels = try? text.labels(index), !labels.metricName.isEmpty else {
                return nil
            }
            series[labels] = TargetSeries(labels: labels, family: labels.metricName)
        }
        return Array(series.values)
    }
}
