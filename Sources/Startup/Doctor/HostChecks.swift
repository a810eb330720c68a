package import Model
package import World

/// What both programs' check-ups look at, each judged from facts alone.
package enum HostChecks {
    /// How far the clock may be off before certificates and samples suffer, microseconds.
    static let clockErrorMicrosecondsMax: Int64 = 1_000_000

    /// `summary` says what holds where the configuration is valid; `error` what is wrong with it.
    package static func configuration(
        source: String, summary: String, error: String?, command: String
    ) -> CheckResult {
        guard let error else { return .ok("configuration", "\(source): \(summary)") }
        return .fail(
            "configuration", error, remedy: "mend the file, then: \(command) check-config")
    }

    /// The state folder: there, for its owner alone, and the owner's who runs the program.
    package static func folder(
        _ path: String, _ status: Result<FileOwnership, FileError>, owner: UserAccount?,
        service: String, errorText: (Int32) -> String
    ) -> CheckResult {
        let name = "state folder"
        return madeAtStart(name, path, status, service: service, errorText: errorText) { facts in
            if let owner, facts.user != owner.user {
                return .fail(
                    name, "\(path) belongs to user \(facts.user), not to \(owner.name)",
                    remedy: "sudo chown -R \(owner.name): \(path)")
            }
            // Search for others is how a private PostgreSQL reaches its own folder.
            guard facts.mode & 0o066 == 0 else {
                return .fail(
                    name, "\(path) is open to others (mode \(octal(facts.mode)))",
                    remedy: "sudo chmod 0700 \(path)")
            }
            return .ok(name, "\(path), mode \(octal(facts.mode))")
        }
    }

    /// A file or folder that the program makes when it starts first; `judge` is asked where it is there.
    static func madeAtStart(
        _ name: String, _ path: String, _ status: Result<FileOwnership, FileError>,
        service: String, errorText: (Int32) -> String, judge: (FileOwnership) -> CheckResult
    ) -> CheckResult {
        switch status {
        case .failure(let error) where error.errno == 2:
            .warn(
                name, "\(path) does not exist yet: it is made at the first start",
                remedy: "sudo systemctl start \(service)")
        case .failure(let error):
            .fail(
                name, "\(path) can't be looked at: \(errorText(error.errno))",
                remedy: "run this with sudo")
        case .success(let facts): judge(facts)
        }
    }

    /// Room on the file system of `path`; below `guardBytes` the program stops to write.
    package static func space(
        _ path: String, freeBytes: Int64?, guardBytes: Int64, consequence: String
    ) -> CheckResult {
        let name = "disk space"
        guard let freeBytes else {
            return .warn(
                name, "the room on the file system of \(path) can't be told",
                remedy: "df -h \(path)")
        }
        let free = "\(mebibytes(freeBytes)) free for \(path)"
        if freeBytes < guardBytes {
            return .fail(
                name, "\(free), less than \(mebibytes(guardBytes)): \(consequence)",
                remedy: "make room: sudo du -xh --max-depth=2 / | sort -h | tail -20")
        }
        if freeBytes < 2 * guardBytes {
            return .warn(
                name, "\(free); below \(mebibytes(guardBytes)) \(consequence)",
                remedy: "make room: sudo du -xh --max-depth=2 / | sort -h | tail -20")
        }
        return .ok(name, free)
    }

    /// Whether a time service keeps the clock.
    package static func clock(_ state: ClockSynchronisation?) -> CheckResult {
        let remedy = "sudo timedatectl set-ntp true   # or install chrony: sudo apt install chrony"
        guard let state else {
            return .warn("clock", "the kernel does not say how good its clock is", remedy: remedy)
        }
        guard state.isSynchronised else {
            return .warn("clock", "no time service keeps this host's clock", remedy: remedy)
        }
        guard state.errorMaxMicroseconds <= clockErrorMicrosecondsMax else {
            return .warn(
                "clock",
                "kept, but it may be off by \(state.errorMaxMicroseconds / 1000) ms",
                remedy: "timedatectl timesync-status   # or: chronyc tracking")
        }
        return .ok(
            "clock", "kept, off by at most \(state.errorMaxMicroseconds / 1000) ms")
    }

    /// A certificate's life at `now`. `renewal` is the share of its life after which it should have been renewed; nil
    /// where nobody renews it.
    package static func validity(
        _ name: String, of holder: String, notBefore: TimestampMS, notAfter: TimestampMS,
        now: TimestampMS, renewal: Double?, remedy: String
    ) -> CheckResult {
        let until = RFC3339.text(notAfter)
        if now < notBefore {
            return .fail(
                name,
                "\(holder): not valid before \(RFC3339.text(notBefore)): this clock is behind",
                remedy: "timedatectl   # then: sudo timedatectl set-ntp true")
        }
        if now > notAfter {
            return .fail(name, "\(holder): expired on \(until)", remedy: remedy)
        }
        let life = Double(notAfter.rawValue - notBefore.rawValue)
        let age = Double(now.rawValue - notBefore.rawValue)
        if let renewal, age > life * renewal {
            return .warn(
                name,
                "\(holder): valid until \(until), but its renewal is overdue", remedy: remedy)
        }
        return .ok(name, "\(holder), valid until \(until)")
    }

    /// The program's unit, from what `systemctl show` prints of it; nil where the host has no systemd.
    package static func unit(_ service: String, _ properties: [String: String]?) -> CheckResult {
        let name = "service"
        guard let properties else {
            return .ok(name, "no systemd here: \(service) is started by other means")
        }
        guard properties["LoadState"] == "loaded" else {
            return .ok(name, "\(service).service is not installed")
        }
        let state = properties["ActiveState"] ?? "unknown"
        guard state == "active" else {
            return .fail(
                name, "\(service).service is \(state)",
                remedy: "systemctl status \(service); sudo systemctl start \(service)")
        }
        guard properties["UnitFileState"] != "disabled" else {
            return .warn(
                name, "\(service).service runs, but does not start at boot",
                remedy: "sudo systemctl enable \(service)")
        }
        let restarts = properties["NRestarts"].flatMap { Int($0) } ?? 0
        guard restarts < 3 else {
            return .warn(
                name, "\(service).service is active, but was restarted \(restarts) times",
                remedy: "journalctl -u \(service) -p warning -n 50")
        }
        return .ok(name, "\(service).service is active")
    }

    /// A program that does not answer on `place`: nil where its unit is not active either. The other checks then look at
    /// it from outside alone, which is worth a word.
    package static func silence(
        _ service: String, _ properties: [String: String]?, _ place: AddressAndPort
    ) -> CheckResult? {
        guard properties?["ActiveState"] == "active" else { return nil }
        return .warn(
            "own figures",
            "\(service).service is active, but http://\(place)/metrics does not answer",
            remedy: "curl -m 60 http://\(place)/metrics; journalctl -u \(service) -n 20")
    }

    /// `KEY=value` lines of `systemctl show`.
    package static func properties(_ text: String) -> [String: String] {
        var found: [String: String] = [:]
        for line in text.split(separator: "\n") {
            guard let sign = line.firstIndex(of: "=") else { continue }
            found[String(line[..<sign])] = String(line[line.index(after: sign)...])
        }
        return found
    }

    /// A port that the program wants: free, its own, or somebody else's.
    package static func port(
        _ name: String, _ place: AddressAndPort, listeners: [Listener], program: String,
        isOwn: Bool?, consequence: CheckResult.Verdict, key: String
    ) -> CheckResult {
        let holders = listeners.filter { overlaps($0.address, place.address) }
        guard !holders.isEmpty else { return .ok(name, "\(place) is free") }
        // The kernel keeps 15 characters of a program's name.
        let names = holders.compactMap(\.program)
        let isHeldByUs =
            isOwn ?? names.contains(String(program.prefix(15)))
        if isHeldByUs { return .ok(name, "\(place) is held by \(program)") }
        let see = "sudo ss -ltnp 'sport = :\(place.port)'"
        if isOwn == nil, names.isEmpty {
            return .warn(
                name, "\(place) is held, by whom this user may not see",
                remedy: "run this with sudo, or: \(see)")
        }
        let holder = names.first ?? "another program"
        let found = "\(place) is held by \(holder)"
        let remedy = "\(see); end it, or choose another port: \(key)"
        return CheckResult(name, consequence, found, remedy: remedy)
    }

    private static func overlaps(_ a: String, _ b: String) -> Bool {
        let any: Set = ["0.0.0.0", "::"]
        return a == b || any.contains(a) || any.contains(b)
            || (b == "localhost" && (a == "127.0.0.1" || a == "::1"))
    }

    static func octal(_ mode: UInt32) -> String {
        let digits = String(mode & 0o7777, radix: 8)
        return String(repeating: "0", count: max(0, 4 - digits.count)) + digits
    }

    static func mebibytes(_ bytes: Int64) -> String {
        bytes >= 10 << 30 ? "\(bytes >> 30) GiB" : "\(bytes >> 20) MiB"
    }
}
