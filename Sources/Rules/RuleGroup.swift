package import GoTemplate
package import Model
package import YAMLDocument

/// A label or annotation of a rule: its name and the template of its value.
package struct RuleText: Sendable {
    package var name: String
    /// As the file has it.
    package var source: String
    package var template: AlertTemplate

    package init(name: String, source: String) throws(GoTemplateError) {
        self.name = name
        self.source = source
        template = try AlertTemplate(source)
    }
}

/// What an alerting rule has beside its expression and labels.
package struct AlertingRule: Sendable {
    package var name: String
    /// How long the expression must hold before the alert fires; 0 fires at once.
    package var hold: PrometheusDuration
    /// How long the alert keeps firing after the expression stopped holding.
    package var keepFiring: PrometheusDuration
    package var annotations: [RuleText]

    package init(
        name: String, hold: PrometheusDuration, keepFiring: PrometheusDuration,
        annotations: [RuleText]
    ) {
        self.name = name
        self.hold = hold
        self.keepFiring = keepFiring
        self.annotations = annotations
    }
}

/// One rule of a group.
package struct Rule: Sendable {
    /// What the rule makes of its expression's result.
    package enum Kind: Sendable {
        /// A series under this metric name.
        case recording(metric: String)
        case alerting(AlertingRule)
    }

    package var kind: Kind
    /// PromQL.
    package var expression: String
    /// The group's labels and the rule's own, which win. Templates only in alerting rules.
    package var labels: [RuleText]
    /// Where the rule stands in its file.
    package var mark: YAMLMark

    package init(kind: Kind, expression: String, labels: [RuleText], mark: YAMLMark) {
        self.kind = kind
        self.expression = expression
        self.labels = labels
        self.mark = mark
    }

    /// The metric's or the alert's name.
    package var name: String {
        switch kind {
        case .recording(let metric): metric
        case .alerting(let alerting): alerting.name
        }
    }
}

/// Rules that are evaluated together, in order, at one time.
package struct RuleGroup: Sendable {
    package static let intervalDefault = PrometheusDuration(milliseconds: 15_000)

    /// The file it comes from, as given to the loader.
    package var file: String
    /// Unique in its file.
    package var name: String
    package var interval: PrometheusDuration
    /// How far in the past the expressions are evaluated.
    package var queryOffset: PrometheusDuration
    /// Most alerts or series that a rule of the group may make; 0: no limit.
    package var limit: Int
    package var rules: [Rule]

    package init(
        file: String, name: String, interval: PrometheusDuration,
        queryOffset: PrometheusDuration, limit: Int, rules: [Rule]
    ) {
        self.file = file
        self.name = name
        self.interval = interval
        self.queryOffset = queryOffset
        self.limit = limit
        self.rules = rules
    }

    /// The rule's identity in stored state: `<file>;<group>;<name>;<index in the group>`.
    package func identity(ofRuleAt index: Int) -> String {
        "\(file);\(name);\(rules[index].name);\(index)"
    }
}
