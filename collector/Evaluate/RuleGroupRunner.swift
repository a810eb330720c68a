import GoTemplate
package import Logging
package import Model
package import Rules
package import Storage
import Synchronization
import World

/// Evaluates one group: asks, moves the rules' machines, commits what follows, writes the samples.
///
/// State that could not be committed is taken back, so the same change is found and told at the next evaluation.
package final class RuleGroupRunner: Sendable {
    private let machine: Mutex<RuleGroupMachine>
    private let dependencies: EvaluateDependencies
    private let configuration: EvaluateConfiguration
    private let logger: Logger

    package init(
        group: RuleGroup, records: [AlertRecord], dependencies: EvaluateDependencies,
        configuration: EvaluateConfiguration, logger: Logger
    ) {
        machine = Mutex(RuleGroupMachine(group: group, records: records))
        self.dependencies = dependencies
        self.configuration = configuration
        self.logger = logger
    }

    /// The group with its rules' alerts and health.
    package var snapshot: RuleGroupMachine { machine.withLock { $0 } }

    private struct Outcome {
        var records: [AlertRecord] = []
        var transitions: [AlertTransition] = []
        var samples: [RuleSample] = []

        /// Alerts that receivers were told of and that a rule beyond its limit no longer keeps: their end has to be told
        /// from here, the machine does not know them any more.
        var dropped: [AlertRecord] {
            let fired = Set(
                transitions.filter { $0.from == .firing }.map {
                    AlertKey(rule: $0.rule, labels: $0.labels)
                })
            return records.filter {
                $0.state == .inactive && $0.resolvedAt == nil && $0.lastNotifiedAt != nil
                    && fired.contains(AlertKey(rule: $0.rule, labels: $0.labels))
            }
        }
    }

    /// One evaluation at `now`. A rule's failure is its health; only cancellation ends the whole early.
    package func evaluate(at now: TimestampMS) async {
        let before = snapshot
        var working = before
        var outcome = Outcome()
        for index in working.group.rules.indices {
            if Task.isCancelled { return }
            await evaluateRule(index, at: now, &working, &outcome)
        }
        let committed = await commit(&working, outcome, at: now)
        if committed {
            machine.withLock { $0 = working }
            await write(outcome.samples, at: now)
        } else {
            var undone = before
            undone.health = working.health
            machine.withLock { $0 = undone }
        }
    }

    private func evaluateRule(
        _ index: Int, at now: TimestampMS, _ working: inout RuleGroupMachine,
        _ outcome: inout Outcome
    ) async {
        let started = dependencies.clock.monotonicNanoseconds
        let rule = working.group.rules[index]
        var health = RuleHealth()
        health.lastEvaluation = now
        do {
            let at = now.advanced(byMilliseconds: -working.group.queryOffset.milliseconds)
            let result = try await dependencies.query(rule.expression, at)
            switch working.machines[index] {
            case .alerting(let machine):
                let (moved, evaluation) = try await alerting(machine, result, now)
                working.machines[index] = .alerting(moved)
                outcome.records += evaluation.records
                outcome.transitions += evaluation.transitions
                outcome.samples += evaluation.samples
                if let error = evaluation.error { health.lastError = String(describing: error) }
            case .recording(var machine):
                let samples = try machine.evaluate(result: result)
                working.machines[index] = .recording(machine)
                // Later rules of the group read what this one recorded.
                try await store(samples, at: now)
            }
        } catch {
            health.lastError = String(describing: error)
            if working.health[index].lastError != health.lastError {
                logger.warning(
                    "rule \(rule.name) of group \(working.group.name) in \(working.group.file): \(error)"
                )
            }
        }
        health.seconds = Double(dependencies.clock.monotonicNanoseconds - started) / 1e9
        working.health[index] = health
    }

    /// Moves an alerting rule on, running the queries that its templates ask for.
    private func alerting(
        _ machine: AlertRuleStateMachine, _ result: [EvaluatedElement],
        _ now: TimestampMS
    ) async throws -> (AlertRuleStateMachine, AlertEvaluation) {
        var answers: [String: [TemplateSample]] = [:]
        while true {
            var moved = machine
            do throws(RulesError) {
                let evaluation = try moved.evaluate(
                    result: result, now: now, environment: dependencies.templates(now, answers))
                return (moved, evaluation)
            } catch {
                guard case .needsQuery(let expression) = error,
                    answers.count < configuration.templateQueriesMax
                else { throw error }
                answers[expression] = try await dependencies.query(expression, now).map {
                    TemplateSample(
                        labels: $0.labels, value: $0.value, histogramText: $0.histogramText)
                }
            }
        }
    }

    /// Commits the change and the messages that follow from it; false where the database would not take them.
    private func commit(
        _ working: inout RuleGroupMachine, _ outcome: Outcome, at now: TimestampMS
    ) async -> Bool {
        let due =
            working.due(
                outcome.transitions, now: now,
                repeatMilliseconds: configuration.repeatMilliseconds
            ).map { $0.alert(generatorURL: configuration.generatorURL) }
            + outcome.dropped.map {
                $0.resolution(at: now, generatorURL: configuration.generatorURL)
            }
        let messages = due.isEmpty ? [] : dependencies.plan(due, now)
        let told = Set(messages.flatMap { $0.alerts.map(\.labels) })
        let notified = working.noteNotified(told, now: now)
        let touched = Set(notified.map { AlertKey(rule: $0.rule, labels: $0.labels) })
        let records =
            outcome.records.filter {
                !touched.contains(AlertKey(rule: $0.rule, labels: $0.labels))
            } + notified
        guard !records.isEmpty || !outcome.transitions.isEmpty || !messages.isEmpty else {
            return true
        }
        do {
            try await dependencies.alerts.commit(records, outcome.transitions, messages)
            for transition in outcome.transitions where transition.to != .pending {
                logger.notice(
                    "alert \(transition.labels["alertname"]) \(transition.from.rawValue) -> \(transition.to.rawValue)"
                )
            }
            return true
        } catch {
            logger.error("alert state could not be stored; it is tried again: \(error)")
            return false
        }
    }

    private func write(_ samples: [RuleSample], at now: TimestampMS) async {
        guard !samples.isEmpty else { return }
        do {
            try await store(samples, at: now)
        } catch {
            logger.warning("ALERTS series could not be stored: \(error)")
        }
    }

    private func store(_ samples: [RuleSample], at now: TimestampMS) async throws(StorageError) {
        var numbers: [(SeriesDefinition, Sample)] = []
        var histograms: [(SeriesDefinition, HistogramSample)] = []
        for sample in samples {
            let type: MetricType = sample.histogram == nil ? .gauge : .histogram
            let series = SeriesDefinition(
                labels: sample.labels, metadata: MetricMetadata(type: type))
            if let histogram = sample.histogram {
                histograms.append((series, HistogramSample(now.rawValue, histogram)))
            } else {
                numbers.append((series, Sample(now, sample.value)))
            }
        }
        if !numbers.isEmpty { try await dependencies.writer.storeOwn(numbers) }
        if !histograms.isEmpty { try await dependencies.writer.storeOwn(histograms: histograms) }
    }
}
