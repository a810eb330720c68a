import Model
import Startup
import Testing

@Suite("The agent's status")
struct AgentStatusTests {
    private static let second: Int64 = 1_000_000_000

    /// 2026-11-26T18:00:00Z, and `seconds` after it.
    private static func at(_ seconds: Int64) -> TimestampNS {
        TimestampNS((1_795_716_000 + seconds) * second)
    }

    private static func status() -> AgentStatus {
        var status = AgentStatus(
            now: at(0), startedAt: at(-11_525), version: "1.2.3", process: 42,
            configuration: .init(file: "/etc/petrel/agent.yaml", takenAt: at(-60)))
        status.certificate = .init(
            host: "h1", notBefore: at(-86_400 * 10).milliseconds,
            notAfter: at(86_400 * 90).milliseconds)
        status.collector = "collector.example:7443"
        var metrics = AgentStatus.Stream("metrics")
        metrics.bytesMax = 128 << 20
        metrics.bytes = 3 << 19
        metrics.connectedAt = at(-30)
        var logs = AgentStatus.Stream("logs")
        logs.records = 12_345
        logs.bytes = 200 << 20
        logs.bytesMax = 384 << 20
        logs.oldestAt = at(-95)
        logs.gapRecords = 7
        logs.fault = .init("no route\nmend it", at: at(-5))
        status.streams = [metrics, logs]
        return status
    }

    @Test("facts and tables, aligned, with what is in the way below its row")
    func text() {
        var status = Self.status()
        status.logs = [
            .init("journal", lastAt: Self.at(-2)),
            .init("file:/var/log/a*.log", problems: ["a1.log: errno 13; chmod"]),
            .init("file:/b.log", error: "open /b.log: errno 2"),
        ]
        status.readers = [
            .init("cpu", samples: 40, durationNanoseconds: 1_230_000),
            .init("nfs", samples: 0, durationNanoseconds: 10),
            .init(
                "postgres", samples: 12, durationNanoseconds: 15_000_000,
                problems: ["main: no right\nGRANT pg_monitor TO \"petrel-agent\""]),
            .init("zfs", samples: 0, durationNanoseconds: 10),
        ]
        status.targets = [
            .init("app 127.0.0.1:8080", error: "connection refused", lastAt: Self.at(-3)),
            .init("app 127.0.0.1:8081", problems: ["nothing is counted"]),
        ]
        #expect(
            status.text == """
                agent          running since 2026-11-26T14:47:55Z (3h 12m), version 1.2.3, process 42
                configuration  /etc/petrel/agent.yaml, taken at 2026-11-26T17:59:00Z
                identity       h1, certificate until 2027-02-24T18:00:00Z (90 days left)
                               renews itself from 2027-01-05T18:00:00Z on, 0 times since the start
                collector      collector.example:7443

                SPOOL    RECORDS  SIZE                OLDEST  LOST  STATE  COLLECTOR
                metrics  0        1.5 MiB of 128 MiB  -       0     ok     connected since 2026-11-26T17:59:30Z
                logs     12345    200 MiB of 384 MiB  1m 35s  7     ok     away
                    last error 5s ago: no route
                    mend it

                LOG SOURCE            STATE  LAST ENTRY
                journal               read   2s ago
                file:/var/log/a*.log  read   none since the start
                    a1.log: errno 13; chmod
                file:/b.log           FAILS  none since the start
                    open /b.log: errno 2

                READER    STATE  SAMPLES  TOOK
                cpu       read   40       1.2 ms
                postgres  read   12       15.0 ms
                    main: no right
                    GRANT pg_monitor TO "petrel-agent"

                not here       nfs zfs

                SCRAPE TARGET       STATE  LAST SCRAPE
                app 127.0.0.1:8080  DOWN   3s ago
                    connection refused
                app 127.0.0.1:8081  -      none yet
                    nothing is counted

                """)
        #expect(status.isWell)
    }

    @Test("what can't work is not well, what only fails beside the rest is")
    func isWell() {
        #expect(Self.status().isWell)
        var ended = Self.status()
        ended.certificate?.notAfter = Self.at(-1).milliseconds
        #expect(!ended.isWell && ended.text.contains("ENDED at 2026-11-26T17:59:59Z"))
        var unknown = Self.status()
        unknown.certificate = nil
        unknown.identityError = "not joined"
        #expect(!unknown.isWell && unknown.text.contains("identity       not joined\n"))
        var full = Self.status()
        full.streams[1].full = "full, log sources wait"
        #expect(!full.isWell && full.text.contains("  full, log sources wait  away\n"))
        var degraded = Self.status()
        degraded.streams[0].isDegraded = true
        #expect(!degraded.isWell && degraded.text.contains("the disk refuses, held in memory"))
    }

    @Test("a configuration that is not taken, and keys that wait for a start")
    func configuration() {
        var status = Self.status()
        status.configuration.file = nil
        status.configuration.fault = .init("agent.yaml:3: unknown key", at: Self.at(-61))
        status.configuration.waiting = ["listen", "spool.size_max"]
        status.renewalFault = .init("away", at: Self.at(-7200))
        let text = status.text
        #expect(text.contains("configuration  defaults, no file, taken at "))
        #expect(
            text.contains(
                "               a newer one is not taken, 1m 1s ago: agent.yaml:3: unknown key\n"))
        #expect(text.contains("at a start alone: listen, spool.size_max; sudo systemctl restart"))
        #expect(text.contains("               last renewal failed, 2h 0m ago: away\n"))
        #expect(text.contains("READER\nthe first reading is under way\n"))
    }

    @Test("what others say can't move the terminal's cursor, nor fill the screen")
    func escaped() {
        var status = Self.status()
        status.logs = [.init("file:/a\u{1b}[2J", error: String(repeating: "x", count: 5000))]
        let text = status.text
        #expect(text.contains("file:/a\\u001b[2J"))
        #expect(!text.contains("\u{1b}") && text.utf8.count < 3000)
    }
}
