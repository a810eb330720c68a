package import Model

extension MetricType {
    /// A type that the protocol does not know is `unknown`.
    package init(_ type: Petrel_Fleet_V1_MetricType) {
        switch type {
        case .counter: self = .counter
        case .gauge: self = .gauge
        case .histogram: self = .histogram
        case .summary: self = .summary
        case .unspecified, .UNRECOGNIZED: self = .unknown
        }
    }

    /// As the protocol writes it.
    package var wire: Petrel_Fleet_V1_MetricType {
        switch self {
        case .counter: .counter
        case .gauge: .gauge
        case .histogram: .histogram
        case .summary: .summary
        case .unknown: .unspecified
        }
    }

    /// The metric family that a series of this type and name belongs to: without `_bucket`, `_sum`, `_count`.
    package func familyName(of metricName: String) -> String {
        let suffixes: [String]
        switch self {
        case .histogram: suffixes = ["_bucket", "_sum", "_count"]
        case .summary: suffixes = ["_sum", "_count"]
        case .counter, .gauge, .unknown: suffixes = []
        }
        for suffix in suffixes where metricName.hasSuffix(suffix) {
            return String(metricName.dropLast(suffix.count))
        }
        return metricName
    }
}

extension StreamKind {
    /// Nil for a kind that this version does not know.
    package init?(_ kind: Petrel_Fleet_V1_StreamKind) {
        switch kind {
        case .metrics: self = .metrics
        case .logs: self = .logs
        case .unspecified, .UNRECOGNIZED: return nil
        }
    }

    /// As the protocol writes it.
    package var wire: Petrel_Fleet_V1_StreamKind {
        switch self {
        case .metrics: .metrics
        case .logs: .logs
        }
    }
}

extension HostFacts {
    /// What a hello says of its host; each text cut to 256 characters, without NUL.
    package init(_ hello: Petrel_Fleet_V1_Hello) {
        func kept(_ text: String) -> String { LogPayload.withoutNUL(String(text.prefix(256))) }
        self.init(
            agentVersion: kept(hello.agentVersion), machineID: kept(hello.machineID),
            bootID: kept(hello.bootID), kernel: kept(hello.kernel),
            operatingSystem: kept(hello.operatingSystem), role: kept(hello.role),
            instance: hello.instance)
    }
}

extension Petrel_Fleet_V1_Hello {
    /// A hello's host facts; the rest is the caller's to set.
    package init(_ facts: HostFacts) {
        self.init()
        agentVersion = facts.agentVersion
        machineID = facts.machineID
        bootID = facts.bootID
        kernel = facts.kernel
        operatingSystem = facts.operatingSystem
        role = facts.role
        instance = facts.instance
    }
}
