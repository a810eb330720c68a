import Glibc
package import Model

/// How the kernel steers the clock. Source: node_exporter 1.12 `timex.go`.
package struct ClockReader: NodeReader {
    package let name = "timex"
    private let host: any HostCalls

    package init(host: any HostCalls) { self.host = host }

    /// `TIME_ERROR`: the clock follows no reliable server.
    private static let unsynchronized: Int32 = 5
    /// `STA_NANO`.
    private static let nanosecondsBit: Int32 = 0x2000
    /// Frequencies are parts per million with 16 bits of fraction.
    private static let frequencyUnit = 1_000_000.0 * 65_536.0

    /// No families where the call is forbidden, as by a unit's `ProtectClock=yes`; `ReadError.system` where it fails.
    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        do {
            return families(try host.clockAdjustment())
        } catch {
            if case .system(_, let code) = error, code == EPERM || code == EACCES { return [] }
            throw error
        }
    }

    private func families(_ clock: ClockAdjustment) -> [MetricFamily] {
        steering(clock) + pulse(clock)
    }

    private func steering(_ clock: ClockAdjustment) -> [MetricFamily] {
        [
            .gauge(
                "node_timex_sync_status",
                help: "Is clock synchronized to a reliable server (1 = yes, 0 = no).",
                clock.state == Self.unsynchronized ? 0 : 1),
            .gauge(
                "node_timex_offset_seconds",
                help: "Time offset in between local system and reference clock.",
                Double(clock.offset) / Self.unitsPerSecond(clock)),
            .gauge(
                "node_timex_frequency_adjustment_ratio", help: "Local clock frequency adjustment.",
                1 + Double(clock.frequency) / Self.frequencyUnit),
            .gauge(
                "node_timex_maxerror_seconds", help: "Maximum error in seconds.",
                Double(clock.maxError) / 1_000_000),
            .gauge(
                "node_timex_estimated_error_seconds", help: "Estimated error in seconds.",
                Double(clock.estimatedError) / 1_000_000),
            .gauge(
                "node_timex_status", help: "Value of the status array bits.", Double(clock.status)),
            .gauge(
                "node_timex_loop_time_constant", help: "Phase-locked loop time constant.",
                Double(clock.loopTimeConstant)),
            .gauge(
                "node_timex_tick_seconds", help: "Seconds between clock ticks.",
                Double(clock.tick) / 1_000_000),
            .gauge(
                "node_timex_tai_offset_seconds", help: "International Atomic Time (TAI) offset.",
                Double(clock.taiOffset)),
        ]
    }

    /// What a reference with one pulse a second says; zeros without one.
    private func pulse(_ clock: ClockAdjustment) -> [MetricFamily] {
        [
            .gauge(
                "node_timex_pps_frequency_hertz", help: "Pulse per second frequency.",
                Double(clock.ppsFrequency) / Self.frequencyUnit),
            .gauge(
                "node_timex_pps_jitter_seconds", help: "Pulse per second jitter.",
                Double(clock.ppsJitter) / Self.unitsPerSecond(clock)),
            .gauge(
                "node_timex_pps_shift_seconds", help: "Pulse per second interval duration.",
                Double(clock.ppsShift)),
            .gauge(
                "node_timex_pps_stability_hertz",
                help: "Pulse per second stability, average of recent frequency changes.",
                Double(clock.ppsStability) / Self.frequencyUnit),
            .counter(
                "node_timex_pps_jitter_total",
                help: "Pulse per second count of jitter limit exceeded events.",
                Double(clock.ppsJitterExceeded)),
            .counter(
                "node_timex_pps_calibration_total",
                help: "Pulse per second count of calibration intervals.",
                Double(clock.ppsCalibrations)),
            .counter(
                "node_timex_pps_error_total",
                help: "Pulse per second count of calibration errors.", Double(clock.ppsErrors)),
            .counter(
                "node_timex_pps_stability_exceeded_total",
                help: "Pulse per second count of stability limit exceeded events.",
                Double(clock.ppsStabilityExceeded)),
        ]
    }

    /// What `offset` and `ppsJitter` count in.
    private static func unitsPerSecond(_ clock: ClockAdjustment) -> Double {
        clock.status & nanosecondsBit != 0 ? 1_000_000_000 : 1_000_000
    }
}
