import Synchronization

/// The time zones that a system knows, by their names in the IANA database: `Europe/Berlin`.
package final class GoLocations: Sendable {
    /// The bytes of a zone's TZif file; nil where there is none.
    package typealias Read = @Sendable (_ name: String) -> [UInt8]?

    /// UTC and nothing else.
    package static let utcAlone = GoLocations { _ in nil }
    /// Names come from queries: so many are remembered, whether there is such a zone or not.
    static let knownMax = 1000

    private let read: Read
    private let known = Mutex<[String: GoLocation?]>([:])

    package init(_ read: @escaping Read) { self.read = read }

    /// Nil where no zone has this name; `Local` is UTC. Source: Go 1.24 `time.LoadLocation`.
    package func location(_ name: String) -> GoLocation? {
        if ["", "UTC", "Local"].contains(name) { return .utc }
        guard Self.isSound(name) else { return nil }
        return known.withLock { known in
            if let location = known[name] { return location }
            let location = read(name).flatMap { GoLocation(tzif: $0) }
            if known.count < Self.knownMax { known.updateValue(location, forKey: name) }
            return location
        }
    }

    /// Whether a name is no path to somewhere else.
    private static func isSound(_ name: String) -> Bool {
        name.utf8.count <= 255 && !name.hasPrefix("/")
            && !name.utf8.contains { $0 == 0 || $0 == UInt8(ascii: "\\") }
            && !name.split(separator: "/", omittingEmptySubsequences: false).contains {
                ["", ".", ".."].contains($0)
            }
    }

    /// `toDateInZone LAYOUT ZONE TEXT`: what is no zone is UTC, what is no time is Go's zero time. Source: Loki 3.6.
    package var toDateInZone: TemplateValue {
        .function(
            TemplateFunction([.string, .string, .string]) { [self] (a) throws(GoTemplateError) in
                let location = location(try a[1].requireString()) ?? .utc
                let time = GoTime.parse(
                    try a[0].requireString(), try a[2].requireString(), in: location)
                return .instant(time ?? .zero)
            })
    }
}

extension GoLocations: Hashable {
    package static func == (a: GoLocations, b: GoLocations) -> Bool { a === b }

    package func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(self)) }
}
