package import World

/// A program under its check-up: what it is configured to do, as whom it runs, and what it says of itself.
package struct CheckedProgram<Configuration: Sendable>: Sendable {
    /// Of its packaged unit, of that unit's user and of its command.
    package let name: String
    /// What holds, or the defaults where the file is wrong.
    package let configuration: Configuration
    /// As whom it runs.
    package let service: ServiceUser
    private let problem: String?
    private let files: any OwnedFileTree
    private let services: any LocalServices
    private let surroundings: any Surroundings

    /// `load` reads the configuration; what it throws is a finding.
    package init(
        _ name: String, defaults: Configuration, files: any OwnedFileTree, probe: any HostProbe,
        programs: any ProgramRunner, services: any LocalServices, surroundings: any Surroundings,
        load: () throws -> Configuration
    ) {
        self.name = name
        self.files = files
        self.services = services
        self.surroundings = surroundings
        do {
            configuration = try load()
            problem = nil
        } catch {
            configuration = defaults
            problem = "\(error)"
        }
        service = ServiceUser(
            packaged: name, files: files, probe: probe, programs: programs,
            surroundings: surroundings)
    }

    /// `path` is the configuration's file, `summary` what it comes to.
    package func configuration(_ path: String, summary: String) -> CheckResult {
        let isThere = (try? files.status(path)) != nil
        return HostChecks.configuration(
            source: isThere ? path : "no file \(path), defaults", summary: summary, error: problem,
            command: name)
    }

    /// The state folder.
    package func folder(_ path: String) -> CheckResult {
        HostChecks.folder(
            path, ownership(path), owner: service.account, service: name,
            errorText: surroundings.errorText)
    }

    /// Room for `path`, on the file system that it is on or will be.
    package func space(_ path: String, bytesMin: Int64, consequence: String) -> CheckResult {
        var existing = path
        while (try? files.status(existing)) == nil, existing != "/",
            let slash = existing.lastIndex(of: "/")
        {
            existing = slash == existing.startIndex ? "/" : String(existing[..<slash])
        }
        return HostChecks.space(
            path, freeBytes: try? files.freeBytes(existing), guardBytes: bytesMin,
            consequence: consequence)
    }

    /// Whose a file is.
    package func ownership(_ path: String) -> Result<FileOwnership, FileError> {
        Result { () throws(FileError) in try files.ownership(path) }
    }

    /// What the running program says of itself on `place`, where it listens; nil where it does not answer. `prefix` is
    /// that of a name that no other program has.
    package func figures(on place: AddressAndPort, prefix: String) -> OwnFigures? {
        let place = place.fromHere
        guard
            let answer = services.get(address: place.address, port: place.port, path: "/metrics"),
            answer.status == 200
        else { return nil }
        let figures = OwnFigures(answer.body)
        return figures.hasName(prefix: prefix) ? figures : nil
    }

    /// For a program that has no figures: a line where its service is active all the same.
    package func silence(on place: AddressAndPort) -> CheckResult? {
        HostChecks.silence(name, service.unit, place.fromHere)
    }
}

extension AddressAndPort {
    /// Where a program of this machine reaches what listens here.
    fileprivate var fromHere: AddressAndPort {
        switch address {
        case "0.0.0.0", "localhost": AddressAndPort(address: "127.0.0.1", port: port)
        case "::": AddressAndPort(address: "::1", port: port)
        default: self
        }
    }
}
