package import Model
package import World

/// Why an option of `SysctlReader` can't be used; the description says what to write instead.
package enum SysctlOptionError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The name is empty, has an empty part, a space or a control character, or is longer than 255 bytes.
    case badName(option: String)
    /// A key can't be the end of a metric's name.
    case badKey(option: String, key: String)
    /// One key: keys name the values of a sysctl that has several.
    case oneKey(option: String)
    /// Info metrics have no keys.
    case infoWithKeys(option: String)
    /// An option before this one makes the same metric.
    case repeated(option: String, metric: String)
    case tooMany(count: Int, max: Int)

    package var description: String {
        switch self {
        case .badName(let option):
            "sysctl \"\(option)\": no name of a sysctl; write it as sysctl(8) does, "
                + "such as kernel.threads-max"
        case .badKey(let option, let key):
            "sysctl \"\(option)\": key \"\(key)\" can't end a metric's name; use letters, digits "
                + "and underscores, and commas without spaces between keys"
        case .oneKey(let option):
            "sysctl \"\(option)\": one key for a sysctl of several values; write a key for each "
                + "value, or none"
        case .infoWithKeys(let option):
            "sysctl \"\(option)\": an info metric has no keys; write the name alone"
        case .repeated(let option, let metric):
            "sysctl \"\(option)\": \(metric) is another option's metric already; remove one"
        case .tooMany(let count, let max):
            "sysctl: \(count) options, of which at most \(max) are allowed; remove some"
        }
    }
}

/// Chosen kernel parameters from `/proc/sys`. Source: node_exporter 1.12 `sysctl_linux.go`.
package struct SysctlReader: NodeReader {
    /// The most options, both kinds together.
    package static let optionsMax = 1024
    /// The most values of one sysctl.
    package static let valuesMax = 256

    package let name = "sysctl"
    private let tree: any WorldFileTree
    private let paths: NodePaths
    private let choices: [SysctlChoice]
    private let absences = ReaderProblems()

    /// `include` has the texts of `--collector.sysctl.include`, sysctls of whole numbers: `kernel.threads-max`, or
    /// with a metric for each value `fs.file-nr:total,current,max`. `includeInfo` has those of
    /// `--collector.sysctl.include-info`, whose values become labels of `node_sysctl_info`.
    package init(
        tree: any WorldFileTree, paths: NodePaths, include: [String] = [],
        includeInfo: [String] = []
    ) throws(SysctlOptionError) {
        choices = try Self.choices(include: include, includeInfo: includeInfo)
        self.tree = tree
        self.paths = paths
    }

    static func choices(
        include: [String], includeInfo: [String]
    ) throws(SysctlOptionError) -> [SysctlChoice] {
        let count = include.count + includeInfo.count
        guard count <= Self.optionsMax else { throw .tooMany(count: count, max: Self.optionsMax) }
        var choices: [SysctlChoice] = []
        var metrics: Set = [Self.infoMetric]
        for option in include {
            let choice = try SysctlChoice(option, isInfo: false)
            for metric in choice.metrics where !metrics.insert(metric).inserted {
                throw .repeated(option: option, metric: metric)
            }
            choices.append(choice)
        }
        var infoNames: Set<String> = []
        for option in includeInfo {
            let choice = try SysctlChoice(option, isInfo: true)
            guard infoNames.insert(choice.name).inserted else {
                throw .repeated(option: option, metric: Self.infoMetric)
            }
            choices.append(choice)
        }
        return choices
    }

    /// The chosen names that the kernel had no file for, in the options' order; nothing else tells of them.
    package var problems: [String] { absences.all }

    /// A sysctl without a file is left out. Throws `.file` for one that this user may not read, and `.malformed` where
    /// the values are none, too many, no whole numbers, or not as many as their keys.
    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        var families: [MetricFamily] = []
        var info = MetricFamily(Self.infoMetric, .gauge, help: "sysctl info")
        var absent: [String] = []
        defer { absences.all = absent }
        for choice in choices {
            guard let values = try values(choice) else {
                absent.append(
                    "sysctl \(choice.name): no such file; misspelt or its module is not loaded")
                continue
            }
            if choice.isInfo {
                info.points += values.enumerated().map { index, value in
                    .init(
                        [
                            "index": "\(index)", "name": choice.name,
                            "value": ProcText.string(value),
                        ],
                        1)
                }
            } else {
                families += try numeric(choice, values)
            }
        }
        if !info.points.isEmpty { families.append(info) }
        return families
    }

    private static let infoMetric = "node_sysctl_info"

    private func path(_ choice: SysctlChoice) -> String { paths.proc("sys/" + choice.file) }

    /// The file's words, one or more; nil where there is no file. node_exporter cuts what is longer than 128 bytes.
    private func values(_ choice: SysctlChoice) throws(ReadError) -> [ArraySlice<UInt8>]? {
        let path = path(choice)
        guard let bytes = try tree.bytesIfPresent(path) else { return nil }
        let values = ProcText.fields(bytes[...])
        guard !values.isEmpty else { throw .malformed(path: path, detail: "no values") }
        guard values.count <= Self.valuesMax else {
            throw .malformed(path: path, detail: "more than \(Self.valuesMax) values")
        }
        return values
    }

    private func numeric(
        _ choice: SysctlChoice, _ values: [ArraySlice<UInt8>]
    ) throws(ReadError) -> [MetricFamily] {
        let path = path(choice)
        let numbers = values.compactMap(KernelInteger.parse).map { Double($0) }
        guard numbers.count == values.count else {
            throw .malformed(
                path: path, detail: "no whole numbers; include it as info or not at all")
        }
        guard !choice.keys.isEmpty else {
            let points: [MetricFamily.Point] =
                if numbers.count == 1 {
                    numbers.map { .init(.empty, $0) }
                } else {
                    numbers.enumerated().map { .init(.one("index", "\($0.offset)"), $0.element) }
                }
            return choice.metrics.map {
                MetricFamily($0, .unknown, help: "sysctl \(choice.name)", points: points)
            }
        }
        guard numbers.count == choice.keys.count else {
            throw .malformed(
                path: path, detail: "\(numbers.count) values, but \(choice.keys.count) keys")
        }
        return zip(choice.metrics, numbers).enumerated().map { index, pair in
            MetricFamily(
                pair.0, .unknown, help: "sysctl \(choice.name), field \(index)",
                points: [.init(.empty, pair.1)])
        }
    }
}

/// One option, understood.
struct SysctlChoice: Sendable {
    let name: String
    let keys: [String]
    let isInfo: Bool
    /// Names of its families: one for each key, or one alone; unused for an info.
    let metrics: [String]

    /// Below `/proc/sys`.
    var file: String { String(name.map { $0 == "." ? "/" : $0 }) }

    private static let nameBytesMax = 255

    /// `name` or `name:key,key`.
    init(_ option: String, isInfo: Bool) throws(SysctlOptionError) {
        let halves = option.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        let name = halves.first.map { String($0) } ?? ""
        let keys =
            halves.count < 2
            ? []
            : halves[1].split(separator: ",", omittingEmptySubsequences: false).map { String($0) }
        let parts = name.split(omittingEmptySubsequences: false) { $0 == "." || $0 == "/" }
        guard name.utf8.count <= Self.nameBytesMax, parts.allSatisfy({ !$0.isEmpty }),
            name.unicodeScalars.allSatisfy({ $0.value > 32 && $0.value != 127 })
        else { throw .badName(option: option) }
        guard !isInfo || halves.count < 2 else { throw .infoWithKeys(option: option) }
        for key in keys where key.isEmpty || !key.utf8.allSatisfy(Self.isMetricByte) {
            throw .badKey(option: option, key: key)
        }
        guard keys.count != 1 else { throw .oneKey(option: option) }
        let metric = "node_sysctl_" + Self.sanitized(name)
        self.name = name
        self.keys = keys
        self.isInfo = isInfo
        self.metrics = keys.isEmpty ? [metric] : keys.map { "\(metric)_\($0)" }
    }

    /// A byte of a metric's name; the colon is one.
    private static func isMetricByte(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: ":") || isWordByte(byte)
    }

    private static func isWordByte(_ byte: UInt8) -> Bool {
        switch byte {
        case 48...57, 65...90, 97...122, UInt8(ascii: "_"): true
        default: false
        }
    }

    /// node_exporter's `SanitizeMetricName`: each run of other bytes becomes one underscore, with those at its ends.
    static func sanitized(_ name: String) -> String {
        let underscore = UInt8(ascii: "_")
        var rest = Array(name.utf8)[...]
        var result: [UInt8] = []
        while let byte = rest.first {
            let afterUnderscores = rest.drop { $0 == underscore }
            if let next = afterUnderscores.first, !isWordByte(next) {
                rest = afterUnderscores.drop { !isWordByte($0) }.drop { $0 == underscore }
                result.append(underscore)
            } else if afterUnderscores.count < rest.count {
                result += rest.prefix(rest.count - afterUnderscores.count)
                rest = afterUnderscores
            } else {
                result.append(byte)
                rest.removeFirst()
            }
        }
        return String(decoding: result, as: UTF8.self)
    }
}

/// Whole numbers as the kernel writes them in parameters and attributes.
enum KernelInteger {
    /// Decimal with or without a sign, hexadecimal after `0x`, binary after `0b`, octal after `0` or `0o`; nil for
    /// another text and outside 64 bits. Source: Go's `strconv.ParseInt` with base 0.
    static func parse(_ text: ArraySlice<UInt8>) -> Int64? {
        var digits = text
        let isNegative = digits.first == UInt8(ascii: "-")
        if isNegative || digits.first == UInt8(ascii: "+") { digits.removeFirst() }
        var radix = 10
        if digits.first == UInt8(ascii: "0"), let mark = digits.dropFirst().first {
            switch mark {
            case UInt8(ascii: "x"), UInt8(ascii: "X"): (radix, digits) = (16, digits.dropFirst(2))
            case UInt8(ascii: "b"), UInt8(ascii: "B"): (radix, digits) = (2, digits.dropFirst(2))
            case UInt8(ascii: "o"), UInt8(ascii: "O"): (radix, digits) = (8, digits.dropFirst(2))
            default: (radix, digits) = (8, digits.dropFirst())
            }
        }
        // A second sign is no digit.
        guard let first = digits.first, first != UInt8(ascii: "-"), first != UInt8(ascii: "+")
        else { return nil }
        return Int64((isNegative ? "-" : "") + ProcText.string(digits), radix: radix)
    }
}
