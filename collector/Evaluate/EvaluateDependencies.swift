package import GoTemplate
package import Model
package import Rules
package import Storage
package import World

/// What rule evaluation needs of the rest of the collector.
package struct EvaluateDependencies: Sendable {
    /// The instant result of an expression at a time; a scalar is one element without labels.
    package var query: @Sendable (String, TimestampMS) async throws -> [EvaluatedElement]
    /// The messages that follow from alerts that receivers have to be told of, at a time.
    package var plan: @Sendable ([Alert], TimestampMS) -> [OutboxMessage]
    /// The environment of templates at a time, answering `query` calls from what was gathered.
    package var templates:
        @Sendable (TimestampMS, [String: [TemplateSample]]) -> TemplateEnvironment
    package var alerts: any AlertStore
    package var writer: any IngestWriter
    package var clock: any WorldClock

    package init(
        query: @escaping @Sendable (String, TimestampMS) async throws -> [EvaluatedElement],
        plan: @escaping @Sendable ([Alert], TimestampMS) -> [OutboxMessage],
        templates:
            @escaping @Sendable (TimestampMS, [String: [TemplateSample]]) -> TemplateEnvironment,
        alerts: any AlertStore, writer: any IngestWriter, clock: any WorldClock
    ) {
        self.query = query
        self.plan = plan
        self.templates = templates
        self.alerts = alerts
        self.writer = writer
        self.clock = clock
    }
}

/// The bounds of rule evaluation.
package struct EvaluateConfiguration: Sendable {
    /// A firing alert is told again after this. Source: Alertmanager's `repeat_interval` default.
    package var repeatMilliseconds: Int64 = 4 * 3_600_000
    /// Queries that the templates of one rule may run; an expansion that needs more shows an error text.
    package var templateQueriesMax = 16
    package var generatorURL = ""

    package init() {}
}
