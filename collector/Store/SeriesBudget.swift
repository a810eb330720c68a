import Model
import Storage

/// Series by what limits them.
struct SeriesCounts: Sendable {
    private(set) var total = 0
    private(set) var byHost: [Int32: Int] = [:]
    private(set) var byMetric: [ExactText: Int] = [:]

    /// `host` nil: several hosts send it, and it is none's.
    mutating func add(host: Int32?, metric: ExactText, by change: Int = 1) {
        total += change
        if let host { byHost[host, default: 0] += change }
        byMetric[metric, default: 0] += change
    }

    mutating func subtract(_ other: SeriesCounts) {
        total = max(0, total - other.total)
        for (host, count) in other.byHost { byHost[host, default: 0] -= count }
        for (metric, count) in other.byMetric { byMetric[metric, default: 0] -= count }
        byHost = byHost.filter { $0.value > 0 }
        byMetric = byMetric.filter { $0.value > 0 }
    }

    mutating func setByMetric(_ counts: [ExactText: Int]) { byMetric = counts }
}

/// What limits new series. A series that exists is never refused.
struct SeriesBudget: Sendable {
    /// Hours without a sample after which a series does not count any more.
    static let activeHours: Int32 = 3
    /// Series that are known, active or not, are bounded by the limit of active ones times this.
    static let knownFactor = 8
    /// Active series beyond `series_max` that the collector itself may make: what it says of a limit must not be refused by
    /// the limit.
    static let ownReserve = 10_000

    struct Maxima: Sendable {
        var total: Int
        var host: Int
        var metric: Int
        var known: Int { total > Int.max / knownFactor ? .max : total * knownFactor }

        subscript(scope: SeriesRefusal.Scope) -> Int {
            switch scope {
            case .total: total
            case .host: host
            case .metric: metric
            case .known: known
            }
        }
    }

    /// Active series, as of `hour`.
    var active = SeriesCounts()
    /// Series that are being made.
    var reserved = SeriesCounts()
    /// Hours since the Unix epoch at which all were counted.
    var hour = Int32.min / 2

    /// Which limit refuses a new series; nil: none. `host` nil: a sender that is no host.
    func refusal(
        host: Int32?, metric: ExactText, isOwn: Bool, knownCount: Int, _ maxima: Maxima
    ) -> SeriesRefusal.Scope? {
        if (active.byMetric[metric] ?? 0) + (reserved.byMetric[metric] ?? 0) >= maxima.metric {
            return .metric
        }
        if let host,
            (active.byHost[host] ?? 0) + (reserved.byHost[host] ?? 0) >= maxima.host
        {
            return .host
        }
        let reserve = isOwn ? Self.ownReserve : 0
        if active.total + reserved.total >= maxima.total + reserve { return .total }
        return knownCount + reserved.total >= maxima.known + reserve ? .known : nil
    }
}

/// What is known of a series beside its labels and its place.
struct SeriesLife: Sendable {
    /// Nil where several hosts send it.
    var host: Int32?
    /// Hours since the Unix epoch: the last receipt of a sample, or the making.
    var seenHour: Int32
    /// As of the last count.
    var isActive = false
    /// The partitions in which its samples lie; fixed when it is made.
    var retentionClass: Int16 = 0
    /// The day that was noted last of it, days since the Unix epoch.
    var markedDay = Int32.min
}

extension Catalogue.SeriesState {
    /// Takes in a new series, which counts from now on.
    mutating func begin(
        _ number: Int32, host: Int32?, hour: Int32, metric: String, retentionClass: Int16 = 0
    ) {
        var life = SeriesLife(host: host, seenHour: hour, retentionClass: retentionClass)
        if hour >= budget.hour - SeriesBudget.activeHours {
            life.isActive = true
            budget.active.add(host: host, metric: ExactText(metric))
        }
        lives[number] = life
    }

    /// Notes that samples of these series were received in `hour`.
    mutating func see(_ numbers: [Int32], hour: Int32) {
        countWhereDue(hour)
        for number in numbers {
            var hasBegun = false
            var host: Int32?
            lives.change(number) { life in
                guard life.seenHour < hour || !life.isActive else { return }
                life.seenHour = max(life.seenHour, hour)
                guard !life.isActive, life.seenHour >= budget.hour - SeriesBudget.activeHours
                else { return }
                life.isActive = true
                hasBegun = true
                host = life.host
            }
            guard hasBegun, let labels = index.labels(of: number) else { continue }
            budget.active.add(host: host, metric: ExactText(labels.metricName))
        }
    }

    /// Counts active series where a new hour has begun, or the clock was set back by more than one. O(series) once an hour.
    mutating func countWhereDue(_ hour: Int32) {
        // Calls that began before the hour ended still name the hour before.
        guard hour > budget.hour || hour < budget.hour - 1 else { return }
        let wasSetBack = hour < budget.hour
        budget.hour = hour
        var counts = SeriesCounts()
        let oldest = hour - SeriesBudget.activeHours
        let none = ExactText("")
        lives.changeAll { _, life in
            if wasSetBack { life.seenHour = min(life.seenHour, hour) }
            life.isActive = life.seenHour >= oldest
            if life.isActive { counts.add(host: life.host, metric: none) }
        }
        counts.setByMetric(
            index.counts(ofValuesOf: Labels.metricNameLabel) { lives[$0]?.isActive ?? false })
        budget.active = counts
    }

    /// More than one host sends these series: they are none's any more.
    mutating func share(_ numbers: [Int32]) {
        for number in numbers {
            guard let life = lives[number], let host = life.host else { continue }
            lives.change(number) { $0.host = nil }
            guard life.isActive, let labels = index.labels(of: number) else { continue }
            let metric = ExactText(labels.metricName)
            budget.active.add(host: host, metric: metric, by: -1)
            budget.active.add(host: nil, metric: metric)
        }
    }
}
