import AgentScrape
import Logging
import Model
import NIOCore
import Simulation
import Synchronization
import Testing
import World

@Suite("Scraping on the grid")
struct TargetScrapeServiceTests {
    /// Scrapes a server until `count` scrapes were delivered; returns them and what the agent says of itself.
    static func run(
        _ count: Int, _ clock: VirtualClock,
        _ answer: @escaping @Sendable (Int) -> RawServer.Answer,
        tree: SimulatedFileTree = SimulatedFileTree(random: SeededRandom(seed: 1)),
        targets make: (String) throws -> [ScrapeTarget] = { [try ScrapeClientTests.target($0)] },
        duringScrape: @escaping @Sendable () -> Void = {},
        inspect: (ScrapeFigures) -> Void = { _ in }
    ) async throws -> (scrapes: [TargetScrape], families: [MetricFamily], target: ScrapeTarget) {
        let asked = Mutex(0)
        let server = try await RawServer.start { _ in
            duringScrape()
            return answer(
                asked.withLock { asked in
                    asked += 1
                    return asked
                })
        }
        let targets = try make("127.0.0.1:\(server.port)")
        let target = try #require(targets.first)
        let (series, bodies) = (SeriesBudget(), ByteBudget())
        let figures = ScrapeFigures(targets, series: series, bodies: bodies)
        let (stream, continuation) = AsyncStream.makeStream(of: TargetScrape.self)
        let service = TargetScrapeService(
            targets: targets, client: try ScrapeClientTests.client(budget: bodies),
            budget: series, figures: figures,
            memory: TargetMemory(tree: tree, folder: "/state/scrape"), clock: clock,
            logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }),
            compute: { work in
                work()
                return true
            }, deliver: { continuation.yield($0) })
        var scrapes: [TargetScrape] = []
        await withTaskGroup(of: Void.self) { group in
            group.addTask { try? await service.run() }
            for await scrape in stream {
                scrapes.append(scrape)
                if scrapes.count == count { break }
            }
            group.cancelAll()
        }
        inspect(figures)
        try await server.stop()
        return (scrapes, figures.families(), target)
    }

    @Test("samples have the grid's times; a failure is told and counted")
    func grid() async throws {
        let clock = VirtualClock()
        let last = Mutex<[(target: ScrapeTarget, last: LastScrape?)]>([])
        let (scrapes, families, target) = try await Self.run(
            4, clock,
            { number in
                number == 3
                    ? .init("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n") : .ok("a 1\n")
            }, inspect: { figures in last.withLock { $0 = figures.lastScrapes() } })
        let start = TimestampMS(1_700_000_000_000)
        let first = target.grid(from: start).next(after: start)
        for (index, scrape) in scrapes.enumerated() {
            let time = first.advanced(byMilliseconds: Int64(index) * 15_000)
            #expect(scrape.rows.allSatisfy { $0.timestamp == time })
            #expect(scrape.rows.count == 6)
            let up = scrape.rows.first { scrape.series[$0.slot].labels.metricName == "up" }
            #expect(up?.value == (index == 2 ? 0 : 1))
        }
        let told = last.withLock { $0 }
        #expect(told.map(\.target.key) == [target.key])
        // The scrape after the last that came may have ended too.
        let end = first.advanced(byMilliseconds: 45_000)
        #expect(told[0].last.map { $0.error == nil && $0.at >= end } == true)
        let failures = families.first { $0.name == "petrel_agent_scrape_failures_total" }
        #expect(failures?.points.map(\.value) == [1])
        #expect(failures?.points.first?.labels["reason"] == "status")
        let held = families.first { $0.name == "petrel_agent_scrape_series" }
        #expect(held?.points.map(\.value) == [1])
        #expect(
            families.first { $0.name == "petrel_agent_scrape_body_bytes" }?.points[0].value == 0)
    }

    @Test("targets of one job at one address are counted together")
    func shared() async throws {
        let (_, families, _) = try await Self.run(
            12, VirtualClock(), { _ in .init("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n") },
            targets: { address in
                var probe = ScrapeJob(name: "probe")
                probe.staticConfigs = ["a", "b", "c"].map {
                    .init(targets: [address], labels: ["instance": $0])
                }
                var other = ScrapeJob(name: "other")
                other.staticConfigs = [.init(targets: [address])]
                let targets = try ScrapeTarget.all([probe, other])
                #expect(targets.count == 4)
                return targets
            })
        for family in families {
            let labels = family.points.map(\.labels)
            #expect(Set(labels).count == labels.count, "\(family.name)")
        }
        let skipped = families.first { $0.name == "petrel_agent_scrape_skipped_total" }
        #expect(skipped?.points.map { $0.labels["scrape_job"] } == ["probe", "other"])
        let failures = families.first { $0.name == "petrel_agent_scrape_failures_total" }
        #expect((failures?.points.reduce(0) { $0 + $1.value } ?? 0) >= 12)
    }

    @Test("a scrape that lasts past the next time is followed by that one at once")
    func overrun() async throws {
        let clock = VirtualClock()
        let isFirst = Mutex(true)
        let (scrapes, families, _) = try await Self.run(
            3, clock, { _ in .ok("a 1\n") },
            duringScrape: {
                let isFirst = isFirst.withLock { isFirst in
                    defer { isFirst = false }
                    return isFirst
                }
                if isFirst { clock.advance(nanoseconds: 15_010_000_000) }
            })
        let times = scrapes.map { $0.rows[0].timestamp.rawValue }
        #expect(times == [0, 15_000, 30_000].map { times[0] + $0 })
        let skipped = families.first { $0.name == "petrel_agent_scrape_skipped_total" }
        #expect(skipped?.points.map(\.value) == [0])
    }

    @Test(
        "of several times that pass during a scrape the newest is scraped, the others are counted")
    func skips() async throws {
        let clock = VirtualClock()
        let (scrapes, families, _) = try await Self.run(
            2, clock, { _ in .ok("a 1\n") },
            duringScrape: { clock.advance(nanoseconds: 31_000_000_000) })
        let times = scrapes.map { $0.rows[0].timestamp.rawValue }
        #expect(times[1] - times[0] == 30_000)
        let skipped = families.first { $0.name == "petrel_agent_scrape_skipped_total" }
        #expect((skipped?.points.first?.value ?? 0) >= 1)
    }

    @Test("a clock that is set back repeats no time")
    func setBack() async throws {
        let clock = VirtualClock()
        let times = Mutex(0)
        let (scrapes, _, _) = try await Self.run(
            3, clock, { _ in .ok("a 1\n") },
            duringScrape: {
                let isFirst = times.withLock { times in
                    times += 1
                    return times == 1
                }
                guard isFirst else { return }
                clock.jump(to: clock.now.advanced(byNanoseconds: -40_000_000_000))
            })
        let stamps = scrapes.map { $0.rows[0].timestamp }
        #expect(stamps == stamps.sorted() && Set(stamps).count == 3)
    }

    @Test("a target that is gone at the next start ends with markers, one that is not goes on")
    func removed() async throws {
        let clock = VirtualClock()
        let tree = SimulatedFileTree(random: SeededRandom(seed: 1))
        let (_, _, old) = try await Self.run(
            2, clock, { _ in .ok("a{b=\"x\\\"y\"} 1\nc 2\n") }, tree: tree)
        #expect(try tree.list("/state/scrape").count == 1)
        // Its server is another, on another port: the old target is no longer there.
        let now = clock.now.milliseconds
        let (scrapes, _, new) = try await Self.run(2, clock, { _ in .ok("a 1\n") }, tree: tree)
        try #require(old.key != new.key)
        let end = scrapes[0]
        #expect(end.rows.count == 7 && end.rows.allSatisfy { StalenessMarker.isMarker($0.value) })
        #expect(end.rows.allSatisfy { $0.timestamp == now })
        let ended = Set(end.rows.map { end.series[$0.slot].labels })
        #expect(ended.contains(old.labels.setting("__name__", "up")))
        #expect(
            ended.contains(old.labels.setting("__name__", "a").setting("b", "x\"y")))
        #expect(scrapes[1].target != end.target)
        // What is still scraped gets no markers.
        let memory = TargetMemory(tree: tree, folder: "/state/scrape")
        #expect(try tree.list("/state/scrape") == [new.key + ".prom"])
        let kept = memory.take([new], at: now)
        #expect(kept.ends.isEmpty)
        #expect(
            kept.had[new.key]?.contains { $0.labels == new.labels.setting("__name__", "a") }
                == true)
        #expect(try tree.list("/state/scrape").isEmpty)
    }

    /// A server's `/a` and `/b`, scraped by a service whose targets change; what `change` says after each delivery counts.
    /// It stops when `isDone` holds of all that was delivered: how soon a change is taken depends on the machine, so that a
    /// number of scrapes alone would tell nothing.
    private static func changing(
        _ jobs: [ScrapeJob], until isDone: ([TargetScrape]) -> Bool,
        after prepare: (TargetMemory, [ScrapeTarget]) -> Void = { _, _ in },
        change: (_ delivered: Int, _ scrape: TargetScrape) -> [ScrapeJob]?
    ) async throws -> (scrapes: [TargetScrape], families: [MetricFamily], series: Int) {
        let clock = VirtualClock()
        let (series, bodies) = (SeriesBudget(), ByteBudget())
        let targets = try ScrapeTarget.all(jobs)
        let figures = ScrapeFigures(targets, series: series, bodies: bodies)
        let (stream, continuation) = AsyncStream.makeStream(of: TargetScrape.self)
        let memory = TargetMemory(
            tree: SimulatedFileTree(random: SeededRandom(seed: 1)), folder: "/state")
        prepare(memory, targets)
        let service = TargetScrapeService(
            targets: targets, client: try ScrapeClientTests.client(budget: bodies),
            budget: series, figures: figures, memory: memory, clock: clock,
            logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }),
            compute: { work in
                work()
                return true
            }, deliver: { continuation.yield($0) })
        var scrapes: [TargetScrape] = []
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try? await service.run() }
            for await scrape in stream {
                scrapes.append(scrape)
                if scrapes.count == 5_000 || isDone(scrapes) { break }
                if let jobs = change(scrapes.count, scrape) {
                    service.change(to: try ScrapeTarget.all(jobs))
                }
            }
            group.cancelAll()
        }
        return (scrapes, figures.families(), series.count)
    }

    private static func job(_ name: String, _ port: Int) -> ScrapeJob {
        var job = ScrapeJob(name: name)
        job.metricsPath = "/" + name
        job.staticConfigs = [.init(targets: ["127.0.0.1:\(port)"])]
        return job
    }

    private static func jobName(_ scrape: TargetScrape) -> String {
        scrape.series.first { !$0.labels.isEmpty }?.labels["job"] ?? ""
    }

    @Test("a target that is added is scraped, one that is removed ends, one that stays goes on")
    func changes() async throws {
        let server = try await RawServer.start { request in
            .ok(request.hasPrefix("GET /a ") ? "a 1\n" : "b 1\nc 2\n")
        }
        let (a, b) = (Self.job("a", server.port), Self.job("b", server.port))
        var (isEnded, hasAsked) = (false, false)
        let (scrapes, families, series) = try await Self.changing(
            [a], until: { isEnded && $0.count >= 30 },
            change: { count, scrape in
                if count == 3 { return [a, b] }
                let isSecond = Self.jobName(scrape) == "b"
                if isSecond, scrape.isLast { isEnded = true }
                guard count > 10, isSecond, !hasAsked else { return nil }
                hasAsked = true
                // What another target of the job is makes no difference to this one.
                var more = a
                more.staticConfigs[0].labels = .empty
                return [more]
            })
        try await server.stop()
        let first = scrapes.filter { Self.jobName($0) == "a" }
        let second = scrapes.filter { Self.jobName($0) == "b" }
        #expect(isEnded && first.count > 10 && second.count > 1)
        // Its samples have each time once, and it was new once.
        let times = first.map { $0.rows[0].timestamp }
        #expect(Set(times).count == times.count && times == times.sorted())
        #expect(Set(first.map(\.target)).count == 1)
        let added = first.flatMap { scrape in
            scrape.rows.filter {
                scrape.series[$0.slot].labels.metricName == "scrape_series_added"
            }.map(\.value)
        }
        #expect(added.filter { $0 == 1 }.count == 1)
        // All that it had, its own series among them.
        let last = try #require(second.last)
        #expect(last.isLast && last.rows.count == 7)
        #expect(last.rows.allSatisfy { StalenessMarker.isMarker($0.value) })
        #expect(second.dropLast().allSatisfy { !$0.isLast })
        #expect(series == 1)
        let told = families.first { $0.name == "petrel_agent_scrape_skipped_total" }
        #expect(told?.points.map { $0.labels["scrape_job"] } == ["a"])
    }

    @Test("a target that is scraped in another way goes on, and what it no longer brings ends")
    func replaced() async throws {
        let server = try await RawServer.start { _ in .ok("keep 1\ngone 2\n") }
        let before = Self.job("a", server.port)
        var after = before
        after.metricRelabelRules = [RelabelingTests.rule(.drop, from: ["__name__"], "gone")]
        let changed = after
        let (scrapes, _, series) = try await Self.changing(
            [before],
            until: { scrapes in scrapes.count >= 12 && scrapes.contains { Self.hasMarkers($0) } },
            change: { count, _ in count == 3 ? [changed] : nil })
        try await server.stop()
        let ends = scrapes.flatMap { scrape in
            scrape.rows.filter { StalenessMarker.isMarker($0.value) }.map {
                scrape.series[$0.slot].labels.metricName
            }
        }
        #expect(ends == ["gone"])
        #expect(Set(scrapes.filter { !$0.rows.isEmpty }.map(\.target)).count == 2)
        let kept = scrapes.flatMap { scrape in
            scrape.rows.filter { scrape.series[$0.slot].labels.metricName == "keep" }
        }
        #expect(kept.count > 6 && Set(kept.map(\.timestamp)).count == kept.count)
        #expect(series == 2, "a line that is dropped is remembered too")
    }

    @Test("what a target had before a restart ends where its first scrape does not bring it")
    func remembered() async throws {
        let tree = SimulatedFileTree(random: SeededRandom(seed: 1))
        let (scrapes, _, target) = try await Self.run(
            2, VirtualClock(), { _ in .ok("a 1\n") }, tree: tree,
            targets: { address in
                let target = try ScrapeClientTests.target(address)
                TargetMemory(tree: tree, folder: "/state/scrape").remember(
                    target, Self.had(by: target, ["a", "gone"]))
                return [target]
            })
        #expect(scrapes[0].series.contains { $0.labels.metricName == "a" })
        let end = scrapes[1]
        #expect(end.rows.allSatisfy { StalenessMarker.isMarker($0.value) })
        #expect(
            end.rows.map { end.series[$0.slot].labels }
                == [target.labels.setting("__name__", "gone")])
    }

    @Test("and all of it where the target goes before that")
    func removedBeforeItsFirstScrape() async throws {
        let server = try await RawServer.start { _ in .ok("a 1\n") }
        let soon = Self.job("soon", server.port)
        var late = Self.job("late", server.port)
        late.interval = PrometheusDuration(milliseconds: 3_600_000)
        let (scrapes, _, _) = try await Self.changing(
            [soon, late],
            until: { scrapes in scrapes.contains { Self.hasMarkers($0) } },
            after: { memory, targets in
                for target in targets where target.job.name == "late" {
                    memory.remember(target, Self.had(by: target, ["a", "up"]))
                }
            },
            change: { delivered, _ in delivered == 1 ? [soon] : nil })
        let markers = scrapes.flatMap { scrape in
            scrape.rows.filter { StalenessMarker.isMarker($0.value) }
                .map { scrape.series[$0.slot].labels }
        }
        // Where the grid has it scraped first after all, its other series end, too.
        #expect(Set(markers.map(\.metricName)).isSuperset(of: ["a", "up"]))
        #expect(markers.allSatisfy { $0["job"] == "late" })
        try await server.stop()
    }

    private static func hasMarkers(_ scrape: TargetScrape) -> Bool {
        scrape.rows.contains { StalenessMarker.isMarker($0.value) }
    }

    private static func had(by target: ScrapeTarget, _ metrics: [String]) -> [TargetSeries] {
        metrics.map {
            TargetSeries(labels: target.labels.setting("__name__", $0), family: $0)
        }
    }

    @Test("what the host's own readers had is kept beside the targets', and taken once")
    func hostMemory() throws {
        let tree = SimulatedFileTree(random: SeededRandom(seed: 1))
        let memory = TargetMemory(tree: tree, folder: "/scrape")
        #expect(memory.takeHost().isEmpty)
        let series: [Labels] = [
            ["__name__": "up", "job": "node"],
            ["__name__": "disk é", "job": "node", "mountpoint": "/a \"b\"\n\\"],
        ]
        memory.rememberHost(series)
        #expect(memory.take([], at: TimestampMS(1)).ends.isEmpty, "it is no target's")
        #expect(Set(memory.takeHost()) == Set(series))
        #expect(memory.takeHost().isEmpty)
        #expect(try tree.list("/scrape").isEmpty)
    }

    @Test("a damaged memory ends nothing and goes away")
    func damaged() throws {
        let tree = SimulatedFileTree(random: SeededRandom(seed: 1))
        try tree.makeDirectory("/scrape")
        let file = try tree.open("/scrape/1.prom", .createNew)
        try file.write(Array("a 0 0\nb{".utf8), at: 0)
        file.close()
        let memory = TargetMemory(tree: tree, folder: "/scrape")
        #expect(memory.take([], at: TimestampMS(1)).ends.isEmpty)
        #expect(try tree.list("/scrape").isEmpty)
    }
}
