import GoTemplate
import Model
import Routing
import Rules
import Startup
import World
import WorldLive
import YAMLDocument

/// Reads what the configuration names beside itself: rule files and the alerting file.
enum RuleLoading {
    /// The built-in groups, then those of every rule file in order of path. Throws at the first error, with its place.
    static func load(_ configuration: CollectorConfiguration) throws -> [RuleGroup] {
        let files = LiveFileTree()
        let features = configuration.queryFeatures
        func problem(_ expression: String) -> String? {
            RuleExpression.problem(expression, features: features)
        }
        var groups = try BuiltInRules.groups(validateExpression: problem)
        for pattern in configuration.ruleFiles {
            for path in try expand(pattern, files) {
                groups += try RuleFile.parse(
                    StartFiles.live.text(path), file: path,
                    validateExpression: problem)
            }
        }
        return groups
    }

    /// The alerting file; nil where none is named and the standard place has none.
    static func routing(
        _ configuration: CollectorConfiguration
    ) throws -> AlertingConfiguration? {
        let files = LiveFileTree()
        guard
            configuration.namesAlertingFile
                || (try? files.status(configuration.alertingFile)) != nil
        else { return nil }
        return try AlertingConfiguration.parse(
            StartFiles.live.text(configuration.alertingFile), file: configuration.alertingFile)
    }

    /// The definitions of the alerting file's template files; nil where it names none.
    static func templates(_ routing: AlertingConfiguration) throws -> GoTemplate? {
        let files = LiveFileTree()
        var library: GoTemplate?
        for pattern in routing.templateFiles {
            for path in try expand(pattern, files) {
                let text = try StartFiles.live.text(path)
                do throws(GoTemplateError) {
                    let next = try NotificationTemplate.library(text)
                    library = library.map { next.including($0) } ?? next
                } catch { throw StartError("\(path): \(error)") }
            }
        }
        return library
    }

    /// Paths that `pattern` names, sorted. `*` stands for any text within the last component; a pattern without one
    /// must name a file that is there.
    private static func expand(_ pattern: String, _ files: LiveFileTree) throws -> [String] {
        guard pattern.contains("*") else { return [pattern] }
        guard let slash = pattern.lastIndex(of: "/") else {
            throw StartError("rules.files: `\(pattern)` is not an absolute path")
        }
        let folder = String(pattern[..<slash])
        let parts = pattern[pattern.index(after: slash)...]
            .split(separator: "*", omittingEmptySubsequences: false).map(String.init)
        guard !folder.contains("*"), let names = try? files.list(folder) else { return [] }
        return names.filter { matches($0, parts) }.sorted(by: bytesPrecede)
            .map { folder + "/" + $0 }
    }

    private static func matches(_ name: String, _ parts: [String]) -> Bool {
        guard let first = parts.first, let last = parts.last, name.hasPrefix(first) else {
            return false
        }
        var rest = name.dropFirst(first.count)
        for part in parts.dropFirst().dropLast() where !part.isEmpty {
            guard let range = rest.firstRange(of: part) else { return false }
            rest = rest[range.upperBound...]
        }
        return parts.count == 1 ? rest.isEmpty : rest.hasSuffix(last)
    }
}
