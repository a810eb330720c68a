package import YAMLDocument

/// What a configuration's `posture` says.
package struct PostureOptions: Hashable, Sendable {
    package var isEnabled = true
    /// Checks that are not reported and do not count in the score.
    package var ignored: Set<PostureCheck> = []

    package init() {}

    /// Reads the section `posture`: `enabled` and `ignore`, a list of checks. An unknown name is an error that lists
    /// the known ones.
    package init(_ root: inout YAMLMapping) throws(YAMLError) {
        var section = try root.section("posture")
        isEnabled = try section.bool("enabled", default: isEnabled)
        for name in try section.strings("ignore") {
            guard let check = PostureCheck(rawValue: name) else {
                let names = PostureCheck.allCases.map(\.rawValue).joined(separator: ", ")
                throw section.error(
                    at: "ignore", "no posture check `\(name)`; expected one of \(names)")
            }
            ignored.insert(check)
        }
        try section.finish()
    }
}
