import Model
import Wire

/// The series of the host's own readers from one scrape to the next: makes of what they gave a scrape with slots, and ends
/// what they no longer give.
///
/// A series that was there in the scrape before and is not in this one ends with a staleness marker at this one's time;
/// so do all of a reader that failed or is gone. Source: Prometheus 3.14 `scrape.scrapeCache`, with a reader in the place
/// of a line.
///
/// A point that stands where it stood in the scrape before costs one comparison of labels, mostly by their storage. Labels
/// and texts are held once: slots share their storage with readers and with the writer's numbers.
/// Series: at most `seriesMax`, what exceeds them is left out and counted.
struct HostSeries: Sendable {
    /// Numbers of a dictionary; more can't be sent.
    static let seriesMax = WireLimits.dictionaryIDMax
    /// Number of the host among targets; theirs are from 0 on, those of ends -1 and below.
    static let target = Int.min

    /// What can't be sent of a scrape.
    struct Refused: Sendable {
        var count = 0
        /// Of the first, for a person.
        var problem = ""

        mutating func add(_ metric: String, _ reason: String) {
            count += 1
            if problem.isEmpty { problem = "\(metric): \(reason)" }
        }
    }

    /// A job's points as the last scrape had them.
    private struct Job: Sendable {
        var labels: Labels
        var families: [Family] = []
        var round: UInt32
    }

    private struct Family: Sendable {
        var name = ""
        var metadata = MetricMetadata()
        var points: [Labels] = []
        /// -1 where the point can't be sent.
        var slots: [Int32] = []
    }

    /// By slot; without labels where the slot is free.
    private var series: [TargetSeries] = []
    /// By slot: the last round that had it.
    private var rounds: [UInt32] = []
    private var slots: [Labels: Int32] = [:]
    private var free: [Int32] = []
    /// Slots of the series that the last scrape ended; free from the next one on.
    private var ended: [Int32] = []
    private var jobs: [Job] = []
    private var round: UInt32 = 0

    /// The series that would end if the next scrape were empty.
    var labels: [Labels] { Array(slots.keys) }

    /// Series that end with the next scrape where it does not bring them; those past `seriesMax` are left out.
    mutating func inherit(_ labels: [Labels]) {
        for labels in labels where slots[labels] == nil {
            guard let slot = place(labels, MetricFamily(labels.metricName, .unknown, help: ""))
            else { return }
            rounds[slot] = round
        }
    }

    /// What readers gave at one time, by job: samples in their order, then the markers.
    mutating func take(_ scrapes: [MetricScrape]) -> (scrape: TargetScrape, refused: Refused) {
        round &+= 1
        for slot in ended {
            series[Int(slot)] = TargetSeries(labels: .empty, family: "")
            free.append(slot)
        }
        ended = []
        var scrape = TargetScrape(
            target: Self.target, name: scrapes.first?.targetLabels["job"] ?? "")
        var refused = Refused()
        scrape.reserve(rounds.count)
        for one in scrapes { add(one, &scrape, &refused) }
        jobs.removeAll { $0.round != round }
        if let time = scrapes.first?.timestamp { end(at: time, &scrape) }
        scrape.series = series
        return (scrape, refused)
    }

    private mutating func end(at time: TimestampMS, _ scrape: inout TargetScrape) {
        for slot in series.indices where rounds[slot] != round && !series[slot].labels.isEmpty {
            scrape.append(.init(slot: slot, value: StalenessMarker.value, timestamp: time))
            slots[series[slot].labels] = nil
            ended.append(Int32(slot))
        }
    }

    private mutating func add(
        _ one: MetricScrape, _ scrape: inout TargetScrape, _ refused: inout Refused
    ) {
        let job: Int
        if let known = jobs.firstIndex(where: { $0.labels == one.targetLabels }) {
            job = known
        } else {
            job = jobs.count
            jobs.append(Job(labels: one.targetLabels, round: round))
        }
        jobs[job].round = round
        for (index, family) in one.families.enumerated() {
            if index == jobs[job].families.count { jobs[job].families.append(Family()) }
            if jobs[job].families[index].name != family.name
                || jobs[job].families[index].metadata != family.metadata
            {
                jobs[job].families[index] = Family(name: family.name, metadata: family.metadata)
            }
            for (at, point) in family.points.enumerated() {
                let slot = slot(of: point.labels, family, index, at, job)
                guard slot >= 0 else {
                    refused.add(family.name, "past a limit of labels or series")
                    continue
                }
                guard rounds[slot] != round else {
                    refused.add(family.name, "a series twice")
                    continue
                }
                rounds[slot] = round
                scrape.append(.init(slot: slot, value: point.value, timestamp: one.timestamp))
            }
            // A guess must be of the last scrape: what it no longer has may have lost its slot to another.
            let excess = jobs[job].families[index].points.count - family.points.count
            if excess > 0 {
                jobs[job].families[index].points.removeLast(excess)
                jobs[job].families[index].slots.removeLast(excess)
            }
        }
        let excess = jobs[job].families.count - one.families.count
        if excess > 0 { jobs[job].families.removeLast(excess) }
    }

    /// The slot of the point `at` of the job's family `index`; -1 where it can't be sent.
    private mutating func slot(
        of point: Labels, _ family: MetricFamily, _ index: Int, _ at: Int, _ job: Int
    ) -> Int {
        let isKnown = at < jobs[job].families[index].points.count
        if isKnown, jobs[job].families[index].points[at] == point,
            jobs[job].families[index].slots[at] >= 0
        {
            return Int(jobs[job].families[index].slots[at])
        }
        let labels = Self.fullLabels(family.name, point, jobs[job].labels)
        let slot: Int
        if let known = slots[labels] {
            slot = Int(known)
            series[slot].family = family.name
            series[slot].metadata = family.metadata
        } else {
            slot = place(labels, family) ?? -1
        }
        if isKnown {
            jobs[job].families[index].points[at] = point
            jobs[job].families[index].slots[at] = Int32(slot)
        } else {
            jobs[job].families[index].points.append(point)
            jobs[job].families[index].slots.append(Int32(slot))
        }
        return slot
    }

    /// Nil where the series can't be sent.
    private mutating func place(_ labels: Labels, _ family: MetricFamily) -> Int? {
        guard slots.count < Self.seriesMax, MetricsPayloadBuilder.problem(with: labels) == nil
        else { return nil }
        let new = TargetSeries(labels: labels, family: family.name, metadata: family.metadata)
        let slot: Int
        if let reused = free.popLast() {
            slot = Int(reused)
            series[slot] = new
        } else {
            slot = series.count
            series.append(new)
            rounds.append(0)
        }
        // In no round yet: that of the scrape before is not this one's.
        rounds[slot] = round &- 1
        slots[labels] = Int32(slot)
        return slot
    }

    /// The sample's labels, the target's, and the name. A sample's own label that the target or the collector sets too is
    /// kept as `exported_<name>`. Source: Prometheus 3.14 scrape with `honor_labels: false`.
    private static func fullLabels(_ family: String, _ point: Labels, _ target: Labels) -> Labels {
        var labels = Array(target)
        var taken: [Label] = []
        var name = family
        for label in point {
            let label = Label(label.name, LogPayload.withoutNUL(label.value))
            if label.name == Labels.metricNameLabel {
                name = label.value
            } else if target[label.name].isEmpty, !Labels.namesOfCollector.contains(label.name) {
                labels.append(label)
            } else {
                taken.append(label)
            }
        }
        for label in taken {
            var name = "exported_" + label.name
            while labels.contains(where: { $0.name == name }) { name = "exported_" + name }
            labels.append(Label(name, label.value))
        }
        labels.append(Label(Labels.metricNameLabel, name))
        return Labels(labels)
    }
}
