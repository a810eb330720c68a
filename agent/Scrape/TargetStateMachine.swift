package import Exposition
package import Model

/// The life of a target: which series it has, what a scrape makes of them, and whether it is up.
///
/// A target is unknown until its first scrape, then up or down. A change of state, or of the reason for being down, is
/// worth a line in the log; nothing else is.
/// Source: Prometheus 3.14 `scrape.scrapeLoop`.
package struct TargetStateMachine: Sendable {
    private enum State: Hashable, Sendable {
        case unknown, up
        /// By the label of the reason.
        case down(String)
    }

    /// What to say of a scrape, once per change of state.
    package enum Notice: Hashable, Sendable {
        case isDown(ScrapeFailure)
        case isUp
    }

    /// What a scrape came to.
    package struct Outcome: Sendable {
        package var scrape: TargetScrape
        package var failure: ScrapeFailure?
        package var notice: Notice?
        /// Samples that were left out, by reason.
        package var duplicates = 0
        package var outOfBounds = 0
        package var unsendable = 0
        /// Exemplars past `ScrapeLimits.exemplarsMax`.
        package var excessExemplars = 0
        /// Exemplars with labels that are none, or too long.
        package var badExemplars = 0
    }

    /// The exemplars of a scrape while its samples are taken.
    private struct ExemplarCursor {
        /// The next of the text's.
        var next = 0
        /// What its series' will have been taken last, if the scrape is whole.
        var taken: [(slot: Int, hash: Int)] = []
    }

    /// Figures of a scrape, as the series that every target has tell them.
    private struct Figures {
        var scraped = 0
        var afterRelabeling = 0
        var added = 0
    }

    /// Sample times further ahead are refused. Source: Prometheus 3.14 `maxAheadTime`.
    static let aheadMillisecondsMax: Int64 = 10 * 60_000
    /// Sample times further back are refused, as the collector would.
    static let ageMillisecondsMax: Int64 = 400 * 24 * 60 * 60_000

    package let target: ScrapeTarget
    private let budget: SeriesBudget
    private var table = SeriesTable()
    private var state = State.unknown
    private var round: UInt32 = 0
    /// Slots of `ownSeries`, in its order.
    private var own: [Int] = []
    /// Lines that the last scrape no longer had; they go when its samples are out.
    private var hasEnded = false

    package init(_ target: ScrapeTarget, budget: SeriesBudget) {
        self.target = target
        self.budget = budget
        own = Self.ownSeries.map { name, help in
            table.addOwn(
                TargetSeries(
                    labels: target.labels.setting(Labels.metricNameLabel, name), family: name,
                    metadata: MetricMetadata(type: .gauge, help: help)))
        }
    }

    /// Lines that are held.
    package var lineCount: Int { table.lineCount }

    private static let ownSeries: [(name: String, help: String)] = [
        ("up", "1 where the target answered with an exposition, 0 where its scrape failed."),
        ("scrape_duration_seconds", "Duration of the scrape."),
        ("scrape_samples_scraped", "Samples that the target exposed."),
        (
            "scrape_samples_post_metric_relabeling",
            "Samples that were left after metric relabeling."
        ),
        ("scrape_series_added", "Approximate number of series that were new in the scrape."),
    ]

    /// Takes what a scrape brought. All samples without a time of their own get `time`; a failure ends every series that
    /// the target had. `seconds` says how long the scrape took, when all else is done.
    package mutating func absorb(
        _ result: Result<ScrapedText, ScrapeFailure>, at time: TimestampMS, seconds: () -> Double
    ) -> Outcome {
        if hasEnded {
            budget.release(table.forget(notSeenIn: round))
            hasEnded = false
        }
        // Round 0 is that of a series that never was.
        round = round == .max ? 1 : round + 1
        table.begin()
        var outcome = Outcome(scrape: TargetScrape(target: target.number, name: target.name))
        var figures = Figures()
        var failure: ScrapeFailure?
        do throws(ScrapeFailure) {
            let text: ScrapedText
            switch result {
            case .success(let found): text = found
            case .failure(let error): throw error
            }
            try add(text, time, &outcome, &figures)
        } catch {
            failure = error
            budget.release(table.takeBack())
            outcome.scrape.removeRows()
        }
        end(seenBy: failure == nil, time, &outcome.scrape)
        hasEnded = failure == nil
        if case .seriesTotal? = failure, case .success(let text) = result {
            // What is gone must not keep out what came in its place.
            // Source: Prometheus 3.14 `scrapeCache.iterDone`, which flushes by force where the cache grows too large.
            seeKnown(text)
            hasEnded = true
        }
        report(failure == nil, figures, seconds(), time, &outcome.scrape)
        outcome.scrape.series = table.series
        outcome.failure = failure
        outcome.notice = change(to: failure)
        return outcome
    }

    /// Gives back what it has of the budget; it must not be used any more. What it had is `liveSeries`, before.
    package mutating func end() { budget.release(table.lineCount) }

    /// The series that would have to end if the target were removed now; its own ones among them.
    package var liveSeries: [TargetSeries] {
        guard round > 0 else { return [] }
        return table.series.indices.filter { $0 < own.count || table.states[$0].isLive }
            .map { table.series[$0] }
    }

    // MARK: - Samples

    private mutating func add(
        _ text: ScrapedText, _ time: TimestampMS, _ outcome: inout Outcome,
        _ figures: inout Figures
    ) throws(ScrapeFailure) {
        figures.scraped = text.values.count
        try refuseBomb(text, &figures)
        var families: FamilyIndex?
        var exemplars = ExemplarCursor()
        var previous = -1
        outcome.scrape.reserve(text.values.count + own.count)
        for index in text.values.indices {
            let range = text.series[index]
            let known = text.bytes.withUnsafeBytes {
                table.find(UnsafeRawBufferPointer(rebasing: $0[range]), after: previous)
            }
            let line: Int
            if let known {
                line = known
            } else {
                line = try create(text, index, after: previous, &families, &outcome)
            }
            previous = line
            guard case .series(let slot) = table.see(line, round) else { continue }
            figures.afterRelabeling += 1
            if known == nil { figures.added += 1 }
            let limit = target.job.sampleLimit
            // Nobody looks at the rest, so that it costs nothing.
            guard limit == 0 || figures.afterRelabeling <= limit else {
                throw .sampleLimit(max: limit)
            }
            if addRow(slot, text, index, time, &outcome) {
                addExemplar(slot, text, index, &exemplars, &outcome)
            }
        }
        for (slot, hash) in exemplars.taken { table.states[slot].exemplar = hash }
    }

    /// Marks the lines that `text` still has, so that they stay though the scrape fails.
    private mutating func seeKnown(_ text: ScrapedText) {
        var previous = -1
        for range in text.series {
            let known = text.bytes.withUnsafeBytes {
                table.find(UnsafeRawBufferPointer(rebasing: $0[range]), after: previous)
            }
            guard let known else { continue }
            _ = table.see(known, round)
            previous = known
        }
    }

    /// Refuses a text that is bound to pass a limit before anything is made of its lines. A line that is there many times
    /// counts as often.
    private func refuseBomb(
        _ text: ScrapedText, _ figures: inout Figures
    ) throws(ScrapeFailure) {
        let count = text.values.count
        let limit = target.job.sampleLimit
        if limit > 0, count > limit, target.job.metricRelabelRules.isEmpty {
            figures.afterRelabeling = count
            throw .sampleLimit(max: limit)
        }
        guard count - table.lineCount <= budget.max - budget.count else {
            throw .seriesTotal(max: budget.max)
        }
    }

    /// Remembers the line of sample `index`, which is new.
    private mutating func create(
        _ text: ScrapedText, _ index: Int, after previous: Int, _ families: inout FamilyIndex?,
        _ outcome: inout Outcome
    ) throws(ScrapeFailure) -> Int {
        let range = text.series[index]
        let exposed: Labels
        do throws(ExpositionError) {
            exposed = try text.labels(index)
        } catch { throw .exposition("\(error)") }
        var series: TargetSeries?
        switch try SampleLabels.make(exposed, line: text.bytes[range], target) {
        case .labels(let labels):
            let index = families ?? FamilyIndex(text.families)
            families = index
            series = index.series(labels, exposedAs: exposed.metricName)
        case .dropped: break
        case .unsendable: outcome.unsendable += 1
        }
        guard budget.reserve() else { throw .seriesTotal(max: budget.max) }
        return text.bytes.withUnsafeBytes {
            table.add(UnsafeRawBufferPointer(rebasing: $0[range]), series, after: previous)
        }
    }

    /// False where the sample is left out.
    private mutating func addRow(
        _ slot: Int, _ text: ScrapedText, _ index: Int, _ time: TimestampMS,
        _ outcome: inout Outcome
    ) -> Bool {
        var at = time.rawValue
        var hasOwnTime = false
        if target.job.honorsTimestamps, !text.timestamps.isEmpty,
            text.timestamps[index] != ScrapedText.absent
        {
            at = text.timestamps[index]
            hasOwnTime = true
            guard at <= time.rawValue + Self.aheadMillisecondsMax,
                at >= time.rawValue - Self.ageMillisecondsMax
            else {
                outcome.outOfBounds += 1
                return false
            }
        }
        // What we say of the target ourselves comes first among the slots; it can't say that for us.
        let last = table.states[slot]
        guard slot >= own.count, last.rowRound != round || last.rowTime != at else {
            outcome.duplicates += 1
            return false
        }
        let bits = text.values[index].bitPattern
        table.states[slot].rowRound = round
        table.states[slot].rowTime = at
        table.states[slot].rowBits = bits
        // What the collector has already: a target says a sample with a time until it has another.
        if hasOwnTime, last.rowRound != 0, last.rowTime == at, last.rowBits == bits { return false }
        // The exposition says itself when a sample with a time is old: no marker ends it.
        if !hasOwnTime { table.states[slot].round = round }
        outcome.scrape.append(
            .init(slot: slot, value: text.values[index], timestamp: TimestampMS(at)),
            start: text.startTimestamps.isEmpty ? 0 : text.startTimestamps[index])
        return true
    }

    /// Gives the row that was added last its exemplar where it has a new one; one without a time of its own has the
    /// sample's. Source: Prometheus 3.14 `scrapeLoop.append`, `exemplar.Equals`.
    private func addExemplar(
        _ slot: Int, _ text: ScrapedText, _ index: Int, _ cursor: inout ExemplarCursor,
        _ outcome: inout Outcome
    ) {
        while cursor.next < text.exemplars.count, text.exemplars[cursor.next].sample < index {
            cursor.next += 1
        }
        guard cursor.next < text.exemplars.count, text.exemplars[cursor.next].sample == index,
            let row = outcome.scrape.rows.last
        else { return }
        let place = text.exemplars[cursor.next]
        let hash = text.bytes.withUnsafeBytes {
            SeriesTable.hash(UnsafeRawBufferPointer(rebasing: $0[place.text]))
        }
        guard hash != table.states[slot].exemplar else { return }
        guard outcome.scrape.exemplars.count < ScrapeLimits.exemplarsMax else {
            outcome.excessExemplars += 1
            return
        }
        cursor.taken.append((slot, hash))
        guard let exemplar = try? text.exemplar(index), Self.isSendable(exemplar.labels) else {
            outcome.badExemplars += 1
            return
        }
        outcome.scrape.append(
            Exemplar(
                labels: exemplar.labels, value: exemplar.value,
                timestamp: exemplar.timestamp ?? row.timestamp))
    }

    private static func isSendable(_ exemplar: Labels) -> Bool {
        Exemplar.mayHave(exemplar)
            && exemplar.allSatisfy { !$0.name.utf8.contains(0) && !$0.value.utf8.contains(0) }
    }

    /// A staleness marker for every series that was there and is not now.
    private mutating func end(
        seenBy isUp: Bool, _ time: TimestampMS, _ scrape: inout TargetScrape
    ) {
        for slot in table.states.indices {
            let isThere = isUp && table.states[slot].round == round
            if table.states[slot].isLive, !isThere {
                scrape.append(.init(slot: slot, value: StalenessMarker.value, timestamp: time))
            }
            table.states[slot].isLive = isThere
            // Its samples are not sent, and would be missing if the next scrape passed over them.
            if !isUp, table.states[slot].rowRound == round { table.states[slot].rowRound = 0 }
        }
    }

    private func report(
        _ isUp: Bool, _ figures: Figures, _ seconds: Double, _ time: TimestampMS,
        _ scrape: inout TargetScrape
    ) {
        let values = [
            isUp ? 1 : 0, seconds, Double(figures.scraped), Double(figures.afterRelabeling),
            Double(figures.added),
        ]
        for (slot, value) in zip(own, values) {
            scrape.append(.init(slot: slot, value: value, timestamp: time))
        }
    }

    private mutating func change(to failure: ScrapeFailure?) -> Notice? {
        let new = failure.map { State.down($0.reason) } ?? .up
        defer { state = new }
        guard new != state else { return nil }
        if let failure { return .isDown(failure) }
        return state == .unknown ? nil : .isUp
    }
}

/// The metric families of a text by name. Made only where a series is new.
struct FamilyIndex {
    private var families: [String: ScrapedText.Family] = [:]

    init(_ all: [ScrapedText.Family]) {
        for family in all { families[family.name] = family }
    }

    /// The series with what its exposition says of its family; `name` is what the sample was called there.
    func series(_ labels: Labels, exposedAs name: String) -> TargetSeries {
        for suffix in Self.suffixes where name.utf8.count > suffix.utf8.count {
            guard name.hasSuffix(suffix) else { continue }
            let stem = String(name.dropLast(suffix.count))
            guard let family = families[stem] else { continue }
            // The family's name goes with the sample's where relabeling gave it another.
            let isRenamed = labels.metricName != name
            return TargetSeries(
                labels: labels, family: isRenamed ? labels.metricName : family.name,
                metadata: MetricMetadata(
                    type: family.type.metricType, help: family.help, unit: family.unit))
        }
        return TargetSeries(labels: labels, family: labels.metricName)
    }

    /// The family's own name first: a text may say `x_total` of itself.
    private static let suffixes = [
        "", "_bucket", "_sum", "_count", "_total", "_info", "_gcount", "_gsum",
    ]
}
