import FoundationEssentials

/// The project's own files, as the style tests read them.
struct SourceTree {
    struct File {
        /// Relative to the project's root.
        var path: String
        var lines: [Substring]
        var isTest: Bool { path.hasPrefix("Tests/") }
        var isGenerated: Bool { path.contains("/Generated/") }
        /// `Sources/Model/Labels.swift` → `Model`; `agent/Read/…` → `AgentRead`.
        var target: String {
            let parts = path.split(separator: "/").map(String.init)
            switch parts[0] {
            case "agent": return parts[1] == "Main" ? "petrel-agent" : "Agent" + parts[1]
            case "collector":
                return parts[1] == "Main" ? "petrel-collector" : "Collector" + parts[1]
            case "Benchmarks": return "petrel-" + parts[1].lowercased()
            default: return parts[1] == "PetrelCLI" ? "petrel" : parts[1]
            }
        }
    }

    static let root: String = {
        // …/Tests/TidyTests/SourceTree.swift
        #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(3)
            .joined(separator: "/")
    }()

    static let swiftFiles: [File] = load(
        ["Sources", "agent", "collector", "Benchmarks", "Tests"], ".swift")

    static func load(_ folders: [String], _ suffix: String) -> [File] {
        var files: [File] = []
        for folder in folders {
            guard
                let names = try? FileManager.default.subpathsOfDirectory(
                    atPath: root + "/" + folder)
            else { continue }
            for name in names.sorted() where name.hasSuffix(suffix) {
                let path = folder + "/" + name
                files.append(
                    File(
                        path: path,
                        lines: text(path).split(separator: "\n", omittingEmptySubsequences: false)))
            }
        }
        return files
    }

    static func text(_ path: String) -> String {
        guard let data = FileManager.default.contents(atPath: root + "/" + path) else { return "" }
        return String(decoding: data, as: UTF8.self)
    }
}
