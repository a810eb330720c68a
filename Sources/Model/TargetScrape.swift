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

    /// An exemplar. `row` is an index into `rows`.
    package struct RowExemplar: Hashable, Sendable {
        package var row: Int
        package var exemplar: Exemplar

        package init(row: Int, exemplar: Exemplar) {
            self.row = row
            self.exemplar = exemplar
        }
    }

    /// Number of the target, unique within the process.
    package var target: Int
    /// The target for a person: its job and its address.
    package var name: String
    /// By slot; a slot that no row names may hold anything.
    package var series: [TargetSeries]
    /// Each slot at most once per time.
    package private(set) var rows: [Row]
    /// When the counting of `rows[i]` began, milliseconds since the epoch, 0 where it isn't known; empty where it is known
    /// of none.
    package private(set) var startTimestamps: [Int64] = []
    /// Nothing follows of this target: what is remembered by its number can be forgotten.
    package var isLast = false
    /// Ascending by row.
    package private(set) var exemplars: [RowExemplar] = []

    package init(target: Int, name: String, series: [TargetSeries] = [], rows: [Row] = []) {
        self.target = target
        self.name = name
        self.series = series
        self.rows = rows
    }

    /// A staleness marker for each of `series`.
    package static func end(
        of series: [TargetSeries], target: Int, name: String, at time: TimestampMS, isLast: Bool
    ) -> TargetScrape {
        var scrape = TargetScrape(
            target: target, name: name, series: series,
            rows: series.indices.map {
                Row(slot: $0, value: StalenessMarker.value, timestamp: time)
            })
        scrape.isLast = isLast
        return scrape
    }

    /// Makes room for so many rows in all.
    package mutating func reserve(_ count: Int) { rows.reserveCapacity(count) }

    /// `start`: when the counting of its value began, 0 where it isn't known.
    package mutating func append(_ row: Row, start: Int64 = 0) {
        if start != 0, startTimestamps.isEmpty {
            startTimestamps = [Int64](repeating: 0, count: rows.count)
        }
        if start != 0 || !startTimestamps.isEmpty { startTimestamps.append(start) }
        rows.append(row)
    }

    /// Gives the row that was appended last an exemplar. Traps where there is none.
    package mutating func append(_ exemplar: Exemplar) {
        precondition(!rows.isEmpty, "an exemplar of no sample")
        exemplars.append(RowExemplar(row: rows.count - 1, exemplar: exemplar))
    }

    /// Takes back all rows, and what goes with them.
    package mutating func removeRows() {
        rows = []
        startTimestamps = []
        exemplars = []
    }
}
