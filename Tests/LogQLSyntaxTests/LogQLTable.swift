import FoundationEssentials

/// A value of JSON.
indirect enum JSONNode: Decodable, Hashable {
    case null
    case bool(Bool)
    case number(Double)
    case text(String)
    case list([JSONNode])
    case object([String: JSONNode])

    init(from decoder: any Decoder) throws {
        let value = try decoder.singleValueContainer()
        if value.decodeNil() {
            self = .null
        } else if let bool = try? value.decode(Bool.self) {
            self = .bool(bool)
        } else if let number = try? value.decode(Double.self) {
            self = .number(number)
        } else if let text = try? value.decode(String.self) {
            self = .text(text)
        } else if let list = try? value.decode([JSONNode].self) {
            self = .list(list)
        } else {
            self = .object(try value.decode([String: JSONNode].self))
        }
    }

    subscript(key: String) -> JSONNode {
        if case .object(let object) = self { object[key] ?? .null } else { .null }
    }

    var text: String? { if case .text(let text) = self { text } else { nil } }
    var number: Double? { if case .number(let number) = self { number } else { nil } }
    var bool: Bool? { if case .bool(let bool) = self { bool } else { nil } }
    var list: [JSONNode] { if case .list(let list) = self { list } else { [] } }
    var isNull: Bool { self == .null }
    var texts: [String] { list.compactMap(\.text) }
}

/// The files that Loki's own tests became: `$PETREL_CONFORMANCE`, else beside the project.
enum LogQLTable {
    static let folder =
        ProcessInfo.processInfo.environment["PETREL_CONFORMANCE"] ?? "../shared/conformance"
    static let isPresent = FileManager.default.fileExists(
        atPath: folder + "/logql-tables/parse.json")
    static let missing = "NOT RUN: no logql-tables in \(folder); set PETREL_CONFORMANCE"

    static func cases(_ name: String) throws -> [JSONNode] {
        let data =
            FileManager.default.contents(atPath: "\(folder)/logql-tables/\(name).json") ?? Data()
        return try JSONDecoder().decode(JSONNode.self, from: data)["cases"].list
    }

    static var scripts: [String] {
        let names =
            (try? FileManager.default.contentsOfDirectory(atPath: folder + "/logqltest")) ?? []
        return names.filter { $0.hasSuffix(".logqltest") }.sorted()
    }

    /// The queries of a script with what it says of their failure, and their lines.
    static func queries(script: String) -> [(line: Int, query: String, failure: String?)] {
        let text = String(
            decoding: FileManager.default.contents(atPath: "\(folder)/logqltest/\(script)")
                ?? Data(), as: UTF8.self)
        var found: [(line: Int, query: String, failure: String?)] = []
        for (number, raw) in text.split(separator: "\n", omittingEmptySubsequences: false)
            .enumerated()
        {
            let words = raw.split(separator: " ", omittingEmptySubsequences: true)
            if words.starts(with: ["expect", "fail"]), !found.isEmpty {
                found[found.count - 1].failure = words.dropFirst(3).joined(separator: " ")
            }
            guard words.first == "eval", words.count > 4 else { continue }
            let skipped = words[1] == "range" ? 8 : 4
            guard words.count > skipped else { continue }
            found.append((number + 1, String(raw[words[skipped].startIndex...]), nil))
        }
        return found
    }
}
