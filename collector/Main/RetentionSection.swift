import CollectorStore
import Model
import PromQLSyntax
import YAMLDocument

/// The section `retention` of collector.yaml.
struct RetentionSection: Sendable {
    /// Of metrics that no class is for, and of logs.
    var age = PrometheusDuration(milliseconds: 30 * day)
    /// What metrics may take on disk, bytes; nil: no bound.
    var metricBytesMax: Int?
    /// What logs may take on disk, bytes; nil: no bound.
    var logBytesMax: Int?
    /// When the lines of a day are packed, days; nil: never.
    var logPackDays: Int? = 7
    var classes: [RetentionRule] = []

    private static let day: Int64 = 86_400_000
    private static let ages =
        PrometheusDuration(milliseconds: day)...PrometheusDuration(milliseconds: 3650 * day)
    /// Less would hold hardly an hour of a small fleet.
    private static let sizes = (64 << 20)...Int.max

    init() {}

    init(_ root: inout YAMLMapping) throws(YAMLError) {
        var section = try root.section("retention")
        age = try section.duration("age", default: age, range: Self.ages)
        metricBytesMax = try section.byteCount("metrics_size", range: Self.sizes)
        logBytesMax = try section.byteCount("logs_size", range: Self.sizes)
        if try section.string("logs_pack_after", default: "") == "never" {
            logPackDays = nil
        } else if let age = try section.duration("logs_pack_after", range: Self.ages) {
            logPackDays = Int(age.milliseconds / Self.day)
        }
        let mark = section.mark(of: "classes")
        for mapping in try section.mappings("classes") {
            let rule = try Self.rule(mapping)
            guard !classes.contains(where: { $0.name == rule.name }) else {
                throw mapping.error(at: "name", "another class has the name `\(rule.name)`")
            }
            classes.append(rule)
        }
        guard classes.count <= RetentionRule.countMax else {
            throw YAMLError(
                file: section.file, mark: mark,
                message: "`classes`: at most \(RetentionRule.countMax) of them")
        }
        try section.finish()
    }

    private static func rule(_ mapping: YAMLMapping) throws(YAMLError) -> RetentionRule {
        var mapping = mapping
        let name = try mapping.requiredString("name")
        let isName =
            (1...32).contains(name.utf8.count)
            && name.utf8.allSatisfy {
                (97...122).contains($0) || (48...57).contains($0) || $0 == 45 || $0 == 95
            }
        guard isName else {
            throw mapping.error(at: "name", "expected 1 to 32 of a-z 0-9 - _, found `\(name)`")
        }
        guard let age = try mapping.duration("age", range: ages) else {
            throw mapping.error(at: "age", "a class says how long it is kept, such as 400d")
        }
        var sets: [[LabelMatcher]] = []
        for selector in try mapping.strings("match") {
            do throws(PromQLParseError) {
                sets.append(try PromQLParser.parseSelector(selector))
            } catch {
                throw mapping.error(at: "match", "`\(selector)` is no series selector: \(error)")
            }
        }
        guard !sets.isEmpty else {
            throw mapping.error(
                at: "match", "a class names its series by selectors, such as ['up', '{job=\"ci\"}']"
            )
        }
        try mapping.finish()
        return RetentionRule(
            name: name, ageHours: Int(age.milliseconds / 3_600_000), matcherSets: sets)
    }
}
