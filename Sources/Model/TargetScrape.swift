/// A series that a scraped target has.
package struct TargetSeries: Hashable, Sendable {
    /// As it is stored, its name among them.
    package var labels: Labels
    /// The metric family that it belongs to, by name; what `metadata` says is said of the family.
    package var family: String
    package var metadata: MetricMetadata

    package init(labels: Labels, family: String, metadata: MetricMetadata = MetricMetadata()) {
        self.labels = labels
        self.family = family
        self.metadata = metadata
    }
}

/// What one scrape of a target came to: samples and staleness markers, each by the slot of its series.
///
/// A slot keeps its series while the target has it, so that who numbers series for the wire looks at labels that it
/// knows by their storage alone.
package struct TargetScrape: Sendable {
    /// A sample. `slot` is an index into `series`.
    package struct Row: Hashable, Sendable {
        package var slot: Int
        package var value: Double
        package var timestamp: TimestampMS

        package init(slot: Int, value: Double, timestamp: TimestampMS) {
            self.slot = slot
            self.value = value
            self.timestamp = timestamp
        }
    }

    /// Number of the target, unique within the process.
    package var target: Int
    /// The target for a person: its job and its address.
    package var name: String
    /// By slot; a slot that no row names may hold anything.
    package var series: [TargetSeries]
    /// Each slot at most once per time.
    package var rows: [Row]

    package init(target: Int, name: String, series: [TargetSeries] = [], rows: [Row] = []) {
        self.target = target
        self.name = name
        self.series = series
        self.rows = rows
    }
}
