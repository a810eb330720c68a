/// What services lack, put into a text that says `petrel-agent setup SERVICE`, below the first line that does: the very
/// lines of the plan, without its secrets.
package struct SetupRemarks: Sendable {
    private static let command = "petrel-agent setup "
    /// Below one line; more are counted and left out.
    private static let linesMax = 40
    private static let lineCharactersMax = 1_000
    private static let indent = "  "

    /// Lines by the service's name on the command line.
    private let remarks: @Sendable (_ service: String) -> [String]

    /// Whether `text` says to set a service up.
    package static func concern(_ text: String) -> Bool { text.contains(command) }

    /// What this machine's services lack; asks them, so it may take a while. Where `host` is not root, who may know.
    package init(of host: SetupHost) {
        guard host.isRoot else {
            self.init { _ in ["what it lacks, line by line: sudo petrel-agent status"] }
            return
        }
        var lines: [String: [String]] = [:]
        do throws(SetupError) {
            for service in try SetupService.found(host) {
                lines[service.command, default: []] += Self.lines(service, host)
            }
        } catch {
            let line = "can't be looked for: \(error)"
            self.init { _ in [line] }
            return
        }
        let found = lines
        self.init { found[$0] ?? ["it is not configured where setup looks for it"] }
    }

    private init(_ remarks: @escaping @Sendable (_ service: String) -> [String]) {
        self.remarks = remarks
    }

    private static func lines(_ service: SetupService, _ host: SetupHost) -> [String] {
        do throws(SetupError) {
            let report = SetupReport(try service.plan(host))
            let missing = report.missing
            guard !missing.isEmpty else { return [report.oneLine] }
            return ["\(report.subject):"]
                + missing.flatMap { $0.split(separator: "\n") }.map { indent + $0 }
        } catch { return ["\(service.name): \(error)"] }
    }

    /// `text` with the remarks in it.
    package func added(to text: String) -> String {
        var told: Set<String> = []
        var lines: [Substring] = []
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            lines.append(line)
            guard let service = Self.service(in: line), told.insert(service).inserted else {
                continue
            }
            let indent = String(line.prefix { $0 == " " }) + Self.indent
            let found = remarks(service)
            lines += found.prefix(Self.linesMax).map { indent + Self.plain($0) }
            if found.count > Self.linesMax {
                lines.append("\(indent)and \(found.count - Self.linesMax) more")
            }
        }
        return lines.joined(separator: "\n")
    }

    /// The service that a line says to set up, by its name on the command line.
    private static func service(in line: Substring) -> String? {
        guard let place = line.firstRange(of: command) else { return nil }
        let word = line[place.upperBound...].prefix { $0.isASCII && ($0.isLetter || $0 == "-") }
        return ["postgresql", "pgbouncer", "valkey", "caddy"].first { $0 == word }
    }

    /// Without what would move a terminal's cursor.
    private static func plain(_ text: String) -> Substring {
        let scalars = text.unicodeScalars.map { scalar -> Character in
            let isControl = scalar.value < 32 || (127...159).contains(scalar.value)
            return isControl ? "?" : Character(scalar)
        }
        return String(scalars).prefix(lineCharactersMax)[...]
    }
}

extension SetupService {
    /// Its word on the command line.
    fileprivate var command: String { String(name.prefix { $0 != " " }) }
}
