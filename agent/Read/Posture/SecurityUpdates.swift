import Model
import World

/// The packages that have a newer version in a security list, by where it comes from.
struct PendingUpdates: Hashable {
    struct Source: Hashable {
        /// `Debian:bookworm-security/stable-security`, as apt_info.py writes it.
        var origin: String
        var architecture: String
    }

    var pending: [Source: Int] = [:]
    /// Of those, what is put on hold.
    var held: [Source: Int] = [:]

    var count: Int { pending.values.reduce(0, +) }
}

/// Compares what dpkg has installed with apt's lists of security updates.
///
/// Only lists of a `-security` suite are read: Debian's are a few MB where all lists together are fifty and more, and a
/// newer version in one of them is an update whatever apt's pins say. A list that is compressed with anything but gzip
/// can't be read; then the number is unknown. `/var/lib/update-notifier/updates-available` would be no way out: its
/// words follow the host's language, and it is not there on Debian. Source: apt's `sources.list(5)`, dpkg's `status`.
struct SecurityUpdates {
    /// Lists that are read, bytes of all of them, packages that are installed, and files in apt's folder. Past one of
    /// them the number is unknown.
    static let listsMax = 64
    static let bytesMax = 64 << 20
    static let packagesMax = 65_536
    static let folderNamesMax = 4_096
    /// Lists that apt has not asked after for so long tell nothing of now.
    static let ageMaxSeconds = 7 * 86_400.0

    static let status = "/var/lib/dpkg/status"
    static let folder = "/var/lib/apt/lists"

    /// Why the number is unknown.
    struct Unknown: Error, Hashable {
        var reason: String
    }

    private struct Installed {
        var architecture: String
        var version: String
        var isHeld: Bool
    }

    private struct Candidate {
        var version: String
        var source: PendingUpdates.Source
        var isHeld: Bool
    }

    /// One paragraph of a list.
    private struct Paragraph {
        var name = ""
        var version = ""
        var architecture = ""
        var status = ""

        mutating func take(_ line: ArraySlice<UInt8>) {
            switch line.first {
            case UInt8(ascii: "P") where ProcText.hasPrefix(line, "Package:"):
                name = Self.value(line, 8)
            case UInt8(ascii: "V") where ProcText.hasPrefix(line, "Version:"):
                version = Self.value(line, 8)
            case UInt8(ascii: "A") where ProcText.hasPrefix(line, "Architecture:"):
                architecture = Self.value(line, 13)
            case UInt8(ascii: "S") where ProcText.hasPrefix(line, "Status:"):
                status = Self.value(line, 7)
            default: break
            }
        }

        private static func value(_ line: ArraySlice<UInt8>, _ keyBytes: Int) -> String {
            ProcText.string(ProcText.stripped(line.dropFirst(keyBytes)))
        }
    }

    private let host: CheckedHost
    private var installed: [String: [Installed]] = [:]
    /// By package and architecture.
    private var candidates: [String: Candidate] = [:]
    private var bytesLeft = bytesMax

    private init(_ host: CheckedHost) { self.host = host }

    // MARK: - Lists

    /// The paths of the lists below the root file system, by name. Throws where there are none that can be read.
    static func lists(_ host: CheckedHost) throws(Unknown) -> [String] {
        guard let names = try? host.tree.list(host.root(folder)) else {
            throw Unknown(reason: "\(folder) can't be listed")
        }
        guard names.count <= folderNamesMax else {
            throw Unknown(reason: "\(folder) has more than \(folderNamesMax) files")
        }
        var lists: [String] = []
        for name in names.sorted(by: bytesPrecede) where isSecurity(name) {
            switch name.split(separator: "_").last {
            case "Packages", "Packages.gz": lists.append(folder + "/" + name)
            case let last? where last.hasPrefix("Packages."):
                throw Unknown(reason: "lists are compressed with \(last.dropFirst(9))")
            default: break
            }
        }
        guard !lists.isEmpty else { throw Unknown(reason: "apt has no list of a -security suite") }
        guard lists.count <= listsMax else {
            throw Unknown(reason: "more than \(listsMax) security lists")
        }
        return lists
    }

    /// `…_dists_bookworm-security_main_binary-amd64_Packages`: the suite ends in `-security`.
    private static func isSecurity(_ name: String) -> Bool {
        release(name)?.hasSuffix("-security") == true
    }

    /// The part of a list's name that it shares with its release file.
    private static func release(_ name: String) -> String? {
        let parts = name.split(separator: "_", omittingEmptySubsequences: false)
        guard let index = parts.lastIndex(where: { $0.hasPrefix("binary-") }), index > 1,
            parts.contains("dists")
        else { return nil }
        return parts[..<(index - 1)].joined(separator: "_")
    }

    /// Seconds since the epoch at which apt last asked for lists, as far as its files tell.
    static func updatedAt(_ lists: [String], _ host: CheckedHost) -> Double? {
        let stamps = ["/var/lib/apt/periodic/update-success-stamp", folder + "/partial"]
        return (stamps + lists).compactMap(host.modified).max()
    }

    // MARK: - Reading

    /// Reads dpkg's status and the lists. Memory: the names and versions of what is installed.
    static func read(
        _ lists: [String], _ host: CheckedHost
    ) throws(Unknown) -> PendingUpdates {
        var updates = SecurityUpdates(host)
        try updates.readStatus()
        for list in lists { try updates.readList(list) }
        var found = PendingUpdates()
        for candidate in updates.candidates.values {
            found.pending[candidate.source, default: 0] += 1
            if candidate.isHeld { found.held[candidate.source, default: 0] += 1 }
        }
        return found
    }

    private mutating func readStatus() throws(Unknown) {
        var (installed, count) = ([String: [Installed]](), 0)
        try forEachParagraph(Self.status) { paragraph in
            // `want flag state`: what is removed but for its configuration is not installed.
            let words = paragraph.status.split(separator: " ")
            guard words.count == 3, !["not-installed", "config-files"].contains(words[2]),
                !paragraph.version.isEmpty
            else { return }
            count += 1
            guard count <= Self.packagesMax else { return }
            installed[paragraph.name, default: []].append(
                Installed(
                    architecture: paragraph.architecture, version: paragraph.version,
                    isHeld: words[0] == "hold"))
        }
        guard count <= Self.packagesMax else {
            throw Unknown(reason: "more than \(Self.packagesMax) packages are installed")
        }
        guard count > 0 else { throw Unknown(reason: "\(Self.status) has no package") }
        self.installed = installed
    }

    private mutating func readList(_ path: String) throws(Unknown) {
        let origin = origin(path)
        let installed = installed
        var candidates = candidates
        try forEachParagraph(path) { paragraph in
            for package in installed[paragraph.name] ?? []
            where Self.fits(package.architecture, paragraph.architecture)
                && DebianVersion.compare(paragraph.version, package.version) > 0
            {
                let key = paragraph.name + ":" + package.architecture
                if let best = candidates[key],
                    DebianVersion.compare(best.version, paragraph.version) >= 0
                {
                    continue
                }
                candidates[key] = Candidate(
                    version: paragraph.version,
                    source: .init(origin: origin, architecture: paragraph.architecture),
                    isHeld: package.isHeld)
            }
        }
        self.candidates = candidates
    }

    /// A package may become one for all architectures and the other way round.
    private static func fits(_ installed: String, _ listed: String) -> Bool {
        installed == listed || installed == "all" || listed == "all"
    }

    private mutating func forEachParagraph(
        _ path: String, _ body: (Paragraph) -> Void
    ) throws(Unknown) {
        do throws(FileError) {
            var file = try host.tree.open(host.root(path), .read)
            if path.hasSuffix(".gz") { file = GzipLogFile(file, path: path) }
            defer { file.close() }
            var paragraph = Paragraph()
            bytesLeft -= try FileLines.forEach(file, path, bytesMax: bytesLeft) { line in
                if line.isEmpty {
                    if !paragraph.name.isEmpty { body(paragraph) }
                    paragraph = Paragraph()
                } else {
                    paragraph.take(line)
                }
            }
            if !paragraph.name.isEmpty { body(paragraph) }
        } catch {
            // EFBIG: of all files together or of one line.
            throw Unknown(reason: (error.errno == 27 ? "too large: " : "can't be read: ") + path)
        }
    }

    // MARK: - Origin

    private static let releaseBytesMax = 8 * 1_024

    /// `Origin:Codename/Suite` of the release file that a list belongs to, as far as it says.
    private func origin(_ list: String) -> String {
        let name = list.split(separator: "/").last.map(String.init) ?? ""
        let base = Self.folder + "/" + (Self.release(name) ?? "")
        var (origin, codename, suite) = ("", "", "")
        for suffix in ["_InRelease", "_Release"] {
            let path = host.root(base + suffix)
            guard let bytes = try? host.tree.piece(path, bytesMax: Self.releaseBytesMax) else {
                continue
            }
            ProcText.forEachLine(bytes) { line in
                let parts = line.split(separator: UInt8(ascii: ":"), maxSplits: 1)
                guard parts.count == 2 else { return }
                let value = ProcText.string(ProcText.stripped(parts[1]))
                if ProcText.equals(parts[0], "Origin") { origin = value }
                if ProcText.equals(parts[0], "Codename") { codename = value }
                if ProcText.equals(parts[0], "Suite") { suite = value }
            }
            break
        }
        return "\(origin):\(codename)/\(suite)"
    }
}
