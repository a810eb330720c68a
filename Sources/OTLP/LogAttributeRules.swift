/// What becomes of the attributes of logs: labels of their stream, fields beside the line, or nothing.
///
/// Source: Loki 3.6 `OTLPConfig`.
package struct LogAttributeRules: Sendable {
    package enum Action: Hashable, Sendable { case label, field, drop }

    /// Attributes with one of these names or that `matches`.
    package struct Rule: Sendable {
        package var action: Action
        package var names: Set<String>
        package var matches: @Sendable (String) -> Bool

        package init(
            _ action: Action, names: Set<String> = [],
            matches: @escaping @Sendable (String) -> Bool = { _ in false }
        ) {
            self.action = action
            self.names = names
            self.matches = matches
        }
    }

    /// Of several rules the first counts; attributes without one are fields.
    package var resource: [Rule]
    /// As above; scopes make no labels.
    package var scope: [Rule]
    package var record: [Rule]

    package init(resource: [Rule], scope: [Rule] = [], record: [Rule] = []) {
        self.resource = resource
        self.scope = scope
        self.record = record
    }

    /// Source: Loki 3.6 `distributor.otlp_config.default_resource_attributes_as_index_labels`.
    package static let labelAttributes: Set = [
        "service.name", "service.namespace", "service.instance.id", "deployment.environment",
        "deployment.environment.name", "cloud.region", "cloud.availability_zone",
        "k8s.cluster.name", "k8s.namespace.name", "k8s.pod.name", "k8s.container.name",
        "container.name", "k8s.replicaset.name", "k8s.deployment.name", "k8s.statefulset.name",
        "k8s.daemonset.name", "k8s.cronjob.name", "k8s.job.name",
    ]

    /// What is not told otherwise.
    package static let standard = LogAttributeRules(
        resource: [Rule(.label, names: labelAttributes)])

    static func action(_ rules: [Rule], _ name: String) -> Action {
        rules.first { $0.names.contains(name) || $0.matches(name) }?.action ?? .field
    }
}

/// Names of labels and fields that Loki's ways in make of others.
package enum LogFieldName {
    /// What is no letter or digit becomes one underscore, however many there are; `key_` goes before a first digit, and the
    /// underscores around `__reserved__` stay. Nil where only underscores would be left.
    /// Source: prometheus/otlptranslator 1.0 `LabelNamer.Build`.
    package static func normalized(_ name: String) -> String? {
        if isPlain(name) { return name }
        var inner = Substring(name).utf8
        let isReserved =
            inner.count >= 4 && inner.starts(with: "__".utf8)
            && inner.suffix(2).elementsEqual("__".utf8)
        if isReserved { inner = inner.dropFirst(2).dropLast(2) }
        var bytes: [UInt8] = []
        var isAfterUnderscore = false
        for byte in inner {
            if isWordByte(byte) {
                bytes.append(byte)
            } else if !isAfterUnderscore {
                bytes.append(UInt8(ascii: "_"))
            }
            isAfterUnderscore = !isWordByte(byte)
        }
        guard bytes.contains(where: isWordByte) else { return nil }
        let text = String(decoding: bytes, as: UTF8.self)
        if isReserved { return "__" + text + "__" }
        return (48...57).contains(bytes[0]) ? "key_" + text : text
    }

    /// Whether `normalized` would give back the name as it is, which is so for most; false for some `__reserved__` ones too.
    package static func isPlain(_ name: String) -> Bool {
        var isAfterUnderscore = false
        var hasWord = false
        for (index, byte) in name.utf8.enumerated() {
            let isWord = isWordByte(byte)
            guard isWord || byte == UInt8(ascii: "_") && !isAfterUnderscore,
                index > 0 || !(48...57).contains(byte)
            else { return false }
            isAfterUnderscore = !isWord
            hasWord = hasWord || isWord
        }
        return hasWord
    }

    private static func isWordByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), 48...57:
            true
        default: false
        }
    }
}
