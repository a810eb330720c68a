import Model

/// The families of the container reader, in the order in which they are handed on.
enum ContainerMetric: Int, CaseIterable {
    case lastSeen, startTime
    case cpuUser, cpuSystem, cpuUsage
    case cpuPeriods, cpuThrottledPeriods, cpuThrottledSeconds
    case memoryCache, memoryRSS, memorySwap, memoryFailures, memoryUsage, memoryWorkingSet
    case memoryHighEvents, memoryMaxEvents, oomEvents
    case fsReadBytes, fsReads, fsWrittenBytes, fsWrites
    case receivedBytes, receivedPackets, receivedDropped, receiveErrors
    case sentBytes, sentPackets, sentDropped, sendErrors
    case processes, threads
    case cpuStalled, cpuWaiting, memoryStalled, memoryWaiting, ioStalled, ioWaiting
    case cpuPeriod, cpuQuota, memoryLimit, memoryReservation

    /// Without points.
    var family: MetricFamily {
        let (name, help) = Self.texts[self] ?? ("", "")
        let isCounter = name.hasSuffix("_total") || self == .memoryFailures
        return MetricFamily("container_" + name, isCounter ? .counter : .gauge, help: help)
    }

    /// What is told of a unit unless all is asked for. A host has dozens of units: all of this for each would be three times the rest of what
    /// it tells.
    var isOfUnits: Bool { Self.ofUnits.contains(self) }

    private static let ofUnits: Set<ContainerMetric> = [
        .cpuUsage, .cpuPeriods, .cpuThrottledPeriods, .cpuThrottledSeconds, .memorySwap,
        .memoryUsage, .memoryWorkingSet, .oomEvents, .fsReadBytes, .fsWrittenBytes, .threads,
        .memoryLimit,
    ]

    /// Names after `container_`, and help. Source: cAdvisor 0.60 `metrics/prometheus.go`.
    private static let texts: [ContainerMetric: (String, String)] = [
        .lastSeen: ("last_seen", "Last time a container was seen by the exporter"),
        .startTime: (
            "start_time_seconds", "Start time of the container since unix epoch in seconds."
        ),
        .cpuUser: ("cpu_user_seconds_total", "Cumulative user cpu time consumed in seconds."),
        .cpuSystem: (
            "cpu_system_seconds_total", "Cumulative system cpu time consumed in seconds."
        ),
        .cpuUsage: ("cpu_usage_seconds_total", "Cumulative cpu time consumed in seconds."),
        .cpuPeriods: (
            "cpu_cfs_periods_total", "Number of elapsed enforcement period intervals."
        ),
        .cpuThrottledPeriods: (
            "cpu_cfs_throttled_periods_total", "Number of throttled period intervals."
        ),
        .cpuThrottledSeconds: (
            "cpu_cfs_throttled_seconds_total",
            "Total time duration the container has been throttled."
        ),
        .memoryCache: ("memory_cache", "Number of bytes of page cache memory."),
        .memoryRSS: ("memory_rss", "Size of RSS in bytes."),
        .memorySwap: ("memory_swap", "Container swap usage in bytes."),
        .memoryFailures: ("memory_failcnt", "Number of memory usage hits limits"),
        .memoryUsage: (
            "memory_usage_bytes",
            "Current memory usage in bytes, including all memory regardless of when it was accessed"
        ),
        .memoryWorkingSet: ("memory_working_set_bytes", "Current working set in bytes."),
        .memoryHighEvents: (
            "memory_events_high_total",
            "Cumulative count of memory.high throttle events for the container"
        ),
        .memoryMaxEvents: (
            "memory_events_max_total",
            "Cumulative count of memory.max limit hit events for the container"
        ),
        .oomEvents: (
            "oom_events_total", "Count of out of memory events observed for the container"
        ),
        .fsReadBytes: ("fs_reads_bytes_total", "Cumulative count of bytes read"),
        .fsReads: ("fs_reads_total", "Cumulative count of reads completed"),
        .fsWrittenBytes: ("fs_writes_bytes_total", "Cumulative count of bytes written"),
        .fsWrites: ("fs_writes_total", "Cumulative count of writes completed"),
        .receivedBytes: ("network_receive_bytes_total", "Cumulative count of bytes received"),
        .receivedPackets: (
            "network_receive_packets_total", "Cumulative count of packets received"
        ),
        .receivedDropped: (
            "network_receive_packets_dropped_total",
            "Cumulative count of packets dropped while receiving"
        ),
        .receiveErrors: (
            "network_receive_errors_total",
            "Cumulative count of errors encountered while receiving"
        ),
        .sentBytes: ("network_transmit_bytes_total", "Cumulative count of bytes transmitted"),
        .sentPackets: (
            "network_transmit_packets_total", "Cumulative count of packets transmitted"
        ),
        .sentDropped: (
            "network_transmit_packets_dropped_total",
            "Cumulative count of packets dropped while transmitting"
        ),
        .sendErrors: (
            "network_transmit_errors_total",
            "Cumulative count of errors encountered while transmitting"
        ),
        .processes: ("processes", "Number of processes running inside the container."),
        .threads: ("threads", "Number of threads running inside the container"),
        .cpuStalled: (
            "pressure_cpu_stalled_seconds_total",
            "Total time duration no tasks in the container could make progress due to CPU "
                + "congestion."
        ),
        .cpuWaiting: (
            "pressure_cpu_waiting_seconds_total",
            "Total time duration tasks in the container have waited due to CPU congestion."
        ),
        .memoryStalled: (
            "pressure_memory_stalled_seconds_total",
            "Total time duration no tasks in the container could make progress due to memory "
                + "congestion."
        ),
        .memoryWaiting: (
            "pressure_memory_waiting_seconds_total",
            "Total time duration tasks in the container have waited due to memory congestion."
        ),
        .ioStalled: (
            "pressure_io_stalled_seconds_total",
            "Total time duration no tasks in the container could make progress due to IO "
                + "congestion."
        ),
        .ioWaiting: (
            "pressure_io_waiting_seconds_total",
            "Total time duration tasks in the container have waited due to IO congestion."
        ),
        .cpuPeriod: ("spec_cpu_period", "CPU period of the container."),
        .cpuQuota: ("spec_cpu_quota", "CPU quota of the container."),
        .memoryLimit: ("spec_memory_limit_bytes", "Memory limit for the container."),
        .memoryReservation: (
            "spec_memory_reservation_limit_bytes", "Memory reservation limit for the container."
        ),
    ]
}

/// The points of all families while they are gathered.
struct ContainerPoints {
    private var points = [[MetricFamily.Point]](
        repeating: [], count: ContainerMetric.allCases.count)
    /// Whether `ContainerMetric.isOfUnits` alone is added.
    var isShort = false

    /// Adds a value; none where there is nothing to say.
    mutating func add(_ metric: ContainerMetric, _ labels: Labels, _ value: Double?) {
        guard let value, !isShort || metric.isOfUnits else { return }
        points[metric.rawValue].append(.init(labels, value))
    }

    mutating func add(_ metric: ContainerMetric, _ labels: Labels, _ value: UInt64?) {
        add(metric, labels, value.map { Double($0) })
    }

    /// The families that have points.
    var families: [MetricFamily] {
        ContainerMetric.allCases.compactMap { metric in
            guard !points[metric.rawValue].isEmpty else { return nil }
            var family = metric.family
            family.points = points[metric.rawValue]
            return family
        }
    }
}
