package import JSONReading

/// Rebuilds Docker's answers from what may pass.
package enum DockerFilter {
    /// What may pass of Docker's answer to `route`; of one event for `.events`, and `OK` for `.ping`.
    package static func filtered(
        _ answer: [UInt8], of route: DockerRoute
    ) throws(JSONError) -> [UInt8] {
        switch route {
        case .ping: Array("OK".utf8)
        case .info: try JSONProjection.project(answer, onto: DockerShapes.info)
        case .containers: try JSONProjection.project(answer, onto: DockerShapes.containers)
        case .container: try JSONProjection.project(answer, onto: DockerShapes.container)
        case .events: try JSONProjection.project(answer, onto: DockerShapes.event)
        }
    }
}

/// What the helper lets pass of Docker's answers: everything that a person may read, nothing that carries secrets.
///
/// Never: environment, command line, entrypoint and arguments, health check output, mount sources, swarm and registry
/// configuration. Source: Docker Engine API 1.51, ContainerList, ContainerInspect, SystemEvents, SystemInfo.
enum DockerShapes {
    static let labelsMax = 64
    static let labelNameBytesMax = 256
    static let labelValueBytesMax = 1024
    private static let name = JSONShape.text(upTo: 512)
    private static let path = JSONShape.text(upTo: 4096)

    /// `GET /containers/json`.
    static let containers = JSONShape.array(
        of: .object([
            ("Id", name), ("Names", .array(of: name, countMax: 64)), ("Image", name),
            ("ImageID", name), ("Created", .integer), ("State", name), ("Status", name),
            ("Labels", labels),
            (
                "Ports",
                .array(
                    of: .object([
                        ("IP", name), ("PrivatePort", .integer), ("PublicPort", .integer),
                        ("Type", name),
                    ]), countMax: 256)
            ),
            (
                "NetworkSettings",
                .object([
                    (
                        "Networks",
                        .map(
                            of: .object([("IPAddress", name), ("GlobalIPv6Address", name)]),
                            countMax: 64, keeps: { $0.utf8.count <= labelNameBytesMax })
                    )
                ])
            ),
        ]), countMax: .max)

    /// `GET /containers/{id}/json`.
    static let container = JSONShape.object([
        ("Id", name), ("Name", name), ("Created", name),
        (
            "State",
            .object([
                ("Status", name), ("Running", .boolean), ("Paused", .boolean),
                ("Restarting", .boolean), ("OOMKilled", .boolean), ("Dead", .boolean),
                ("Pid", .integer), ("ExitCode", .integer), ("StartedAt", name),
                ("FinishedAt", name),
                ("Health", .object([("Status", name), ("FailingStreak", .integer)])),
            ])
        ),
        ("RestartCount", .integer),
        ("Config", .object([("Image", name), ("Labels", labels)])),
        (
            "HostConfig",
            .object([
                ("LogConfig", .object([("Type", name)])), ("Memory", .integer),
                ("NanoCpus", .integer), ("CpuQuota", .integer), ("CpuPeriod", .integer),
                ("PidsLimit", .integer),
                (
                    "RestartPolicy",
                    .object([("Name", name), ("MaximumRetryCount", .integer)])
                ),
            ])
        ),
        ("LogPath", path),
        (
            "Mounts",
            .array(
                of: .object([("Type", name), ("Destination", path), ("RW", .boolean)]),
                countMax: 256)
        ),
    ])

    /// `GET /info`. `DockerRootDir` tells where json logs are under user-namespace remapping.
    static let info = JSONShape.object([
        ("ServerVersion", name), ("Containers", .integer), ("ContainersRunning", .integer),
        ("ContainersPaused", .integer), ("ContainersStopped", .integer), ("Images", .integer),
        ("Driver", name), ("LoggingDriver", name), ("CgroupDriver", name),
        ("CgroupVersion", name), ("SecurityOptions", .array(of: name, countMax: 32)),
        ("DockerRootDir", path), ("NCPU", .integer), ("MemTotal", .integer),
    ])

    /// One object of `GET /events`.
    static let event = JSONShape.object([
        ("Type", name), ("Action", .text(action)), ("time", .integer), ("timeNano", .integer),
        (
            "Actor",
            .object([
                ("ID", name),
                (
                    "Attributes",
                    .object([
                        ("name", name), ("image", name), ("exitCode", name), ("signal", name),
                    ])
                ),
            ])
        ),
    ])

    private static let labels = JSONShape.map(
        of: .text { LabelPolicy.passing($0) }, countMax: labelsMax,
        keeps: { LabelPolicy.keeps($0) })

    /// `exec_create: sh -c …` carries a command line behind its colon, `health_status: healthy` a state.
    private static func action(_ text: String) -> String? {
        guard let colon = text.firstIndex(of: ":") else {
            return text.utf8.count <= 64 ? text : nil
        }
        let isHealth = text[..<colon] == "health_status"
        let kept = isHealth ? text : String(text[..<colon])
        return kept.utf8.count <= 64 ? kept : nil
    }
}

/// Which container labels may be read. People put credentials into labels: basic-auth users of a proxy, a webhook's URL.
enum LabelPolicy {
    /// A label whose name contains one of these, in any case, does not pass.
    static let secretWords = [
        "env", "token", "pass", "secret", "key", "auth", "cred", "cookie", "private", "dsn",
        "webhook", "pwd",
    ].map { Array($0.utf8) }
    private static let authorityMark = Array("://".utf8)

    static func keeps(_ name: String) -> Bool {
        guard name.utf8.count <= DockerShapes.labelNameBytesMax else { return false }
        let lowercase = name.utf8.map { 65...90 ~= $0 ? $0 + 32 : $0 }
        return !secretWords.contains { position(of: $0, in: lowercase, from: 0) != nil }
    }

    /// The value, unless it is too long or holds a URL with a password: `scheme://user:password@host`.
    static func passing(_ value: String) -> String? {
        guard value.utf8.count <= DockerShapes.labelValueBytesMax else { return nil }
        let bytes = Array(value.utf8)
        var start = 0
        while let mark = position(of: authorityMark, in: bytes, from: start) {
            start = mark + authorityMark.count
            let authority = bytes[start...].prefix { $0 != UInt8(ascii: "/") && $0 > 32 }
            if authority.contains(UInt8(ascii: "@")) { return nil }
        }
        return value
    }

    /// Where `word` begins in `bytes` at or behind `start`. O(bytes × word).
    private static func position(of word: [UInt8], in bytes: [UInt8], from start: Int) -> Int? {
        guard bytes.count - start >= word.count else { return nil }
        for first in start...(bytes.count - word.count) where bytes[first] == word[0] {
            if word.indices.allSatisfy({ bytes[first + $0] == word[$0] }) { return first }
        }
        return nil
    }
}
