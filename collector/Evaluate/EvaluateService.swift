package import Logging
package import Model
package import Rules
import ServiceLifecycle
import Storage
import Synchronization
import World

/// Evaluates every rule group on its own grid: multiples of the interval plus a phase of the group's own.
///
/// Groups run side by side, rules of one group in order. An evaluation that outlasts its interval makes the ticks it
/// overran missed, counted and not caught up. Source: Prometheus 3.14 rules/group.go.
package final class EvaluateService: Service {
    private let groups: [RuleGroup]
    private let dependencies: EvaluateDependencies
    private let configuration: EvaluateConfiguration
    private let logger: Logger
    private let runners = Mutex<[RuleGroupRunner]>([])
    private let missed = Mutex<UInt64>(0)

    package init(
        groups: [RuleGroup], dependencies: EvaluateDependencies,
        configuration: EvaluateConfiguration = EvaluateConfiguration(), logger: Logger
    ) {
        self.groups = groups
        self.dependencies = dependencies
        self.configuration = configuration
        self.logger = logger
    }

    /// The groups as last evaluated, in their order; empty before the stored state was read.
    package var snapshot: [RuleGroupMachine] { runners.withLock { $0 }.map(\.snapshot) }

    package func run() async throws {
        await cancelWhenGracefulShutdown { await self.evaluateAll() }
    }

    private func evaluateAll() async {
        guard let records = await storedRecords() else { return }
        let runners = groups.map {
            RuleGroupRunner(
                group: $0, records: records, dependencies: dependencies,
                configuration: configuration, logger: logger)
        }
        self.runners.withLock { $0 = runners }
        await withTaskGroup(of: Void.self) { tasks in
            for (group, runner) in zip(groups, runners) {
                tasks.addTask { await self.keepEvaluating(group, runner) }
            }
        }
    }

    /// The stored state, settled for the rules that there are now; waits for the database rather than begin without it,
    /// which would forget what fires.
    ///
    /// After a failure it is read again: a commit whose answer was lost has then left nothing to settle.
    private func storedRecords() async -> [AlertRecord]? {
        while !Task.isCancelled {
            do {
                return try await settledRecords()
            } catch {
                if Task.isCancelled { return nil }
                logger.warning("alert state can't be read or settled yet: \(error)")
            }
            do { try await dependencies.clock.sleep(nanoseconds: 1_000_000_000) } catch { break }
        }
        return nil
    }

    private func settledRecords() async throws(StorageError) -> [AlertRecord] {
        let now = dependencies.clock.now.milliseconds
        let settled = OrphanedAlerts(
            try await dependencies.alerts.loadAlerts(), groups: groups, now: now,
            generatorURL: configuration.generatorURL)
        guard !settled.records.isEmpty else { return settled.kept }
        let messages = settled.resolved.isEmpty ? [] : dependencies.plan(settled.resolved, now)
        try await dependencies.alerts.commit(settled.records, settled.transitions, messages)
        for transition in settled.transitions {
            logger.notice(
                "alert \(transition.labels["alertname"]) ends: its rule is in no rule file any more"
            )
        }
        return settled.kept
    }

    private func keepEvaluating(_ group: RuleGroup, _ runner: RuleGroupRunner) async {
        let grid = EvaluationGrid(group)
        var last = grid.tick(at: dependencies.clock.now.milliseconds)
        while !Task.isCancelled {
            let now = dependencies.clock.now.milliseconds
            let tick = grid.tick(at: now)
            if tick != last {
                let overrun = grid.missed(from: last, to: tick)
                if overrun > 0 { missed.withLock { $0 += overrun } }
                last = tick
                await runner.evaluate(at: tick)
                continue
            }
            let wait = grid.wait(at: now)
            do {
                try await dependencies.clock.sleep(nanoseconds: wait * 1_000_000)
            } catch { return }
        }
    }

    /// The stage's own metrics.
    package func metrics() -> [MetricFamily] {
        let groups = snapshot
        var failures: [MetricFamily.Point] = []
        var durations: [MetricFamily.Point] = []
        for machine in groups {
            let labels: Labels = ["rule_group": "\(machine.group.file);\(machine.group.name)"]
            failures.append(
                MetricFamily.Point(
                    labels, Double(machine.health.filter { !$0.lastError.isEmpty }.count)))
            durations.append(
                MetricFamily.Point(labels, machine.health.reduce(0) { $0 + $1.seconds }))
        }
        return [
            MetricFamily(
                "petrel_rules_failing", .gauge,
                help: "Rules whose last evaluation failed.", points: failures),
            MetricFamily(
                "petrel_rule_group_last_duration_seconds", .gauge,
                help: "Time that the group's last evaluation took.", points: durations),
            MetricFamily(
                "petrel_rule_group_iterations_missed_total", .counter,
                help: "Evaluations that were overrun by the one before.",
                points: [MetricFamily.Point(.empty, Double(missed.withLock { $0 }))]),
        ]
    }
}

/// When a group is evaluated: at `k × interval + phase`. Pure.
package struct EvaluationGrid: Hashable, Sendable {
    private let interval: Int64
    private let phase: Int64

    package init(_ group: RuleGroup) {
        interval = group.interval.milliseconds
        let hash = Labels(["file": group.file, "group": group.name]).fingerprint
        phase = Int64(hash % UInt64(interval))
    }

    /// The last tick at or before `now`.
    package func tick(at now: TimestampMS) -> TimestampMS {
        let since = now.rawValue - phase
        let steps = since >= 0 ? since / interval : (since - interval + 1) / interval
        return TimestampMS(steps * interval + phase)
    }

    /// Milliseconds to the next tick; at most the interval, so a clock set back delays nothing for longer.
    package func wait(at now: TimestampMS) -> Int64 {
        max(1, interval - (now.rawValue - tick(at: now).rawValue))
    }

    /// Ticks strictly between two; none when the clock went back.
    package func missed(from: TimestampMS, to: TimestampMS) -> UInt64 {
        let steps = (to.rawValue - from.rawValue) / interval
        return steps > 1 ? UInt64(steps - 1) : 0
    }
}
