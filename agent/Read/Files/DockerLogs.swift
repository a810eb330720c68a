import JSONReading
import Model
package import World

/// Where Docker keeps the logs of its containers, and whose they are.
package enum DockerLogs {
    /// Docker's own folder; with user namespaces (`userns-remap`) the containers are in one of its folders.
    package static let root = "/var/lib/docker"

    /// The folders of containers: Docker's own whether it is there or not, and those of user namespaces that are there,
    /// `165536.165536`. Or the one that is given.
    package static func folders(
        _ given: String = "", root: String = root, in tree: any WorldFileTree
    ) -> [String] {
        guard given.isEmpty else { return [given] }
        let remapped = ((try? tree.list(root)) ?? []).filter(isRemapped).sorted(by: bytesPrecede)
            .prefix(remappedMax)
        return [root + "/containers"] + remapped.map { "\(root)/\($0)/containers" }
    }

    /// How the logs of all containers of a folder are read: those that are there at the first start from their end, as
    /// the journal; the position of one that is gone is kept for a week.
    package static func configuration(
        folder: String, containers: any ContainerNames
    ) -> FileSetConfiguration {
        FileSetConfiguration(
            path: pattern(folder),
            tail: FileTailConfiguration(
                path: "", start: .tail, decoding: .dockerJSON(containers)),
            forgetNanoseconds: 7 * 86_400_000_000_000)
    }

    /// The source of the logs in `folder`: what failures and `petrel_agent_log_source_up` name.
    package static func source(folder: String) -> String { FileSet.source(path: pattern(folder)) }

    private static func pattern(_ folder: String) -> String { folder + "/*/*" + suffix }

    /// What lets `user` read the logs in `folder`, those of new containers too, and nothing else there.
    package static func remedy(folder: String, user: String) -> String {
        var parents = [RotatedFiles.folder(of: folder)]
        while let last = parents.last, last.hasPrefix(root + "/") {
            parents.append(RotatedFiles.folder(of: last))
        }
        let open = "sudo setfacl -m u:\(user):x \(parents.joined(separator: " "))"
        let folders =
            "sudo find \(folder) -maxdepth 1 -type d -exec setfacl -m u:\(user):rx,d:u:\(user):rx {} +"
        let logs =
            "sudo find \(folder) -maxdepth 2 -name '*\(suffix)*' -exec setfacl -m u:\(user):r {} +"
        return [open, folders, logs].joined(separator: " && ")
    }

    static let suffix = "-json.log"
    /// Folders of user namespaces that are looked at.
    private static let remappedMax = 8
    private static let denied: Int32 = 13

    /// `UID.GID`.
    private static func isRemapped(_ name: String) -> Bool {
        let parts = name.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 2
            && parts.allSatisfy { !$0.isEmpty && $0.allSatisfy { ("0"..."9").contains($0) } }
    }

    /// The logs in `folder`. Their names follow from the containers' ids: Docker makes the folders of containers so that
    /// access control lists let others through, but not list them, and does so with `folder` itself at each of its
    /// starts. Then the ids are those that `containers` knows.
    static func find(
        _ folder: String, _ containers: any ContainerNames, in tree: any WorldFileTree
    ) -> PathPattern.Found {
        var found = PathPattern.Found()
        var ids: [String] = []
        do throws(FileError) {
            ids = try tree.list(folder)
        } catch {
            ids = error.errno == denied ? containers.ids : []
            if error.errno == denied, ids.isEmpty { found.refused.append(error) }
        }
        for id in ids.filter(isContainerID).sorted(by: bytesPrecede) {
            let path = "\(folder)/\(id)/\(id)\(suffix)"
            do throws(FileError) {
                _ = try tree.status(path)
                found.paths.append(path)
            } catch {
                if error.errno == denied, found.refused.count < PathPattern.refusedMax {
                    found.refused.append(error)
                }
            }
        }
        return found
    }

    /// 64 hexadecimal digits.
    private static func isContainerID(_ name: String) -> Bool {
        name.utf8.count == 64
            && name.utf8.allSatisfy { (48...57).contains($0) || (97...102).contains($0) }
    }
}

/// The labels of a container's log.
///
/// The name is Docker's as its helper says it, else that of the configuration beside the log where that may be read,
/// else the beginning of the id, as `docker ps` shows it.
struct DockerContainer: Sendable {
    let id: String
    private let configuration: String
    private var read: ContainerFacts?
    private var readAt: TimestampNS?
    private var told: ContainerFacts?
    private var labels = Labels.empty

    /// How often the configuration is looked for. Nanoseconds.
    private static let pauseNanoseconds: Int64 = 60_000_000_000
    private static let configurationBytesMax = 1 << 20
    private static let shortIDCount = 12

    /// Of the container whose log is at `path`.
    init(log path: String) {
        let folder = RotatedFiles.folder(of: path)
        id = RotatedFiles.name(of: folder)
        configuration = folder + "/config.v2.json"
    }

    mutating func labels(
        _ names: any ContainerNames, _ tree: any WorldFileTree, now: TimestampNS
    ) -> Labels {
        let facts = names.facts(id) ?? readFacts(tree, now)
        guard labels.isEmpty || facts != told else { return labels }
        told = facts
        var name = facts?.name ?? ""
        if name.hasPrefix("/") { name.removeFirst() }
        if name.isEmpty { name = String(id.prefix(Self.shortIDCount)) }
        let service = facts?.labels["com.docker.compose.service"] ?? ""
        labels = Labels([
            "source": "docker", "container": name,
            "service_name": service.isEmpty ? name : service,
        ])
        return labels
    }

    private mutating func readFacts(
        _ tree: any WorldFileTree, _ now: TimestampNS
    ) -> ContainerFacts? {
        if let readAt, read != nil || readAt <= now,
            now.rawValue &- readAt.rawValue < Self.pauseNanoseconds
        {
            return read
        }
        readAt = now
        guard let bytes = try? tree.contents(configuration, bytesMax: Self.configurationBytesMax)
        else { return read }
        read = Self.facts(bytes) ?? read
        return read
    }

    /// The name and the labels of a `config.v2.json`.
    private static func facts(_ bytes: [UInt8]) -> ContainerFacts? {
        var reader = JSONReader(bytes)
        var facts = ContainerFacts(name: "")
        do throws(JSONError) {
            try reader.forEachMember { (name, reader) throws(JSONError) in
                switch name {
                case "Name": facts.name = try reader.text() ?? ""
                case "Config":
                    try reader.forEachMember { (name, reader) throws(JSONError) in
                        guard name == "Labels" else { return try reader.skip() }
                        try reader.forEachMember { (label, reader) throws(JSONError) in
                            guard DockerNames.labels.contains(label) else {
                                return try reader.skip()
                            }
                            facts.labels[label] = try reader.text()
                        }
                    }
                default: try reader.skip()
                }
            }
        } catch { return nil }
        return facts.name.isEmpty ? nil : facts
    }
}
