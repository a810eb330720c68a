package import Model
import Postgres
import Storage

/// A rule that chooses how long new series are kept.
package struct RetentionRule: Hashable, Sendable {
    /// The class, in collector.yaml and in `petrel.retention_class`.
    package var name: String
    /// Hours; whole days are dropped at a time.
    package var ageHours: Int
    /// A series is of the class where it satisfies all matchers of any one of these lists.
    package var matcherSets: [[LabelMatcher]]

    package init(name: String, ageHours: Int, matcherSets: [[LabelMatcher]]) {
        self.name = name
        self.ageHours = ageHours
        self.matcherSets = matcherSets
    }

    /// Rules at most. Classes that were configured once stay in the database beside them: `RetentionClasses.countMax`.
    package static let countMax = 15
}

/// How long the samples of each retention class are kept. Class 0 has what no rule chose.
struct RetentionClasses: Sendable {
    struct Class: Hashable, Sendable {
        var name = ""
        var ageHours: Int
        /// Days up to this one, since the Unix epoch, were dropped for space.
        var droppedThrough: Int32 = -1

        /// Whole days in which there may be samples young enough.
        var ageDays: Int32 { Int32(clamping: (ageHours + 23) / 24) }
    }

    private(set) var classes: [Int16: Class]
    private let rules: [(number: Int16, sets: [[CompiledMatcher]])]

    /// `numbers[i]` is the class of `rules[i]`. Throws `badMatcher`.
    init(
        _ classes: [Int16: Class], _ rules: [RetentionRule], numbers: [Int16]
    ) throws(StorageError) {
        self.classes = classes
        var compiled: [(number: Int16, sets: [[CompiledMatcher]])] = []
        for (rule, number) in zip(rules, numbers) {
            var sets: [[CompiledMatcher]] = []
            for matchers in rule.matcherSets {
                var set: [CompiledMatcher] = []
                for matcher in matchers { set.append(try CompiledMatcher(matcher)) }
                sets.append(set)
            }
            compiled.append((number, sets))
        }
        self.rules = compiled
    }

    /// The class of a new series: that of the first rule that it satisfies.
    func number(for labels: Labels) -> Int16 {
        for rule in rules
        where rule.sets.contains(where: { set in
            set.allSatisfy { $0.accepts(labels[$0.name]) }
        }) {
            return rule.number
        }
        return 0
    }

    /// The first day, since the Unix epoch, whose samples are kept.
    func firstDay(of number: Int16, now: TimestampMS) -> Int32 {
        let found = classes[number] ?? Class(ageHours: 0)
        return max(dayOf(now.rawValue) - found.ageDays, found.droppedThrough + 1)
    }

    /// The oldest time of samples that are taken, milliseconds since the epoch.
    func oldest(of number: Int16, now: TimestampMS) -> Int64 {
        let found = classes[number] ?? Class(ageHours: 0)
        return max(
            now.rawValue - Int64(found.ageHours) * 3_600_000,
            (Int64(found.droppedThrough) + 1) * 86_400_000)
    }

    /// Of all classes the earliest and the latest of these times: what is at or after the latter needs no look at its class.
    func oldestRange(now: TimestampMS) -> ClosedRange<Int64> {
        let times = classes.keys.map { oldest(of: $0, now: now) }
        return (times.min() ?? 0)...(times.max() ?? 0)
    }

    mutating func setDroppedThrough(_ day: Int32, of number: Int16) {
        guard let before = classes[number]?.droppedThrough else { return }
        classes[number]?.droppedThrough = max(before, day)
    }
}

extension RetentionClasses {
    /// Makes the database's classes those of the configuration: ages follow it, classes that it has no more keep the age that
    /// they had.
    static func load(
        _ session: PostgresSession, _ configuration: StoreConfiguration
    ) throws -> RetentionClasses {
        guard configuration.retentionRules.count <= RetentionRule.countMax else {
            throw StorageError.limitExceeded(
                limit: "retention.classes", maximum: RetentionRule.countMax)
        }
        let ensure = "SELECT petrel.ensure_retention_class($1, $2)"
        try session.query(
            ensure, [.text(""), .int4(Int32(clamping: configuration.metricRetentionHours))])
        var numbers: [Int16] = []
        for rule in configuration.retentionRules {
            try makeRoom(for: rule.name, configuration, session)
            let number = try session.query(
                ensure, [.text(rule.name), .int4(Int32(clamping: rule.ageHours))]
            ).integer(0, 0)
            numbers.append(Int16(clamping: number))
        }
        var classes: [Int16: Class] = [:]
        let rows = try session.query(
            "SELECT id, name, age_hours, dropped_through FROM petrel.retention_class")
        for row in 0..<rows.count {
            classes[Int16(clamping: try rows.integer(row, 0))] = Class(
                name: rows.text(row, 1), ageHours: Int(try rows.integer(row, 2)),
                droppedThrough: try rows.int4(row, 3))
        }
        return try RetentionClasses(classes, configuration.retentionRules, numbers: numbers)
    }

    /// Classes of the database at most, class 0 aside, whatever rules they are of: their tables' names hold no more.
    static let countMax: Int64 = 99

    /// Where no number is left for a new class, gives its name to the lowest one that has neither series nor samples and
    /// that no rule names. Throws `refused` where there is none.
    private static func makeRoom(
        for name: String, _ configuration: StoreConfiguration, _ session: PostgresSession
    ) throws {
        try session.transaction { session in
            // As `ensure_retention_class`.
            try session.query("SELECT pg_advisory_xact_lock(728014, 4)::text")
            let full = try session.query(
                "SELECT max(id) >= $1 AND bool_and(name <> $2) FROM petrel.retention_class",
                [.int8(countMax), .text(name)])
            guard full.bool(0, 0) else { return }
            let unused = try session.query(
                """
                SELECT id FROM petrel.retention_class
                WHERE id > 0 AND name <> ALL ($1)
                    AND id NOT IN (SELECT DISTINCT class FROM petrel.series)
                ORDER BY id
                """, [.textArray(configuration.retentionRules.map(\.name))])
            for row in 0..<unused.count {
                let number = PostgresValue.int2(Int16(clamping: try unused.integer(row, 0)))
                let chunks = try session.query(
                    "SELECT 1 FROM petrel.chunk WHERE class = $1 LIMIT 1", [number])
                guard chunks.count == 0 else { continue }
                try session.query(
                    "UPDATE petrel.retention_class SET name = $2, dropped_through = -1 WHERE id = $1",
                    [number, .text(name)])
                return
            }
            throw StorageError.refused(
                "retention.classes: there is no room for the class \(name), for all \(countMax) that the "
                    + "database can have still have series: give it the name of one that is not "
                    + "configured any more (petrel.retention_class lists them)")
        }
    }
}
