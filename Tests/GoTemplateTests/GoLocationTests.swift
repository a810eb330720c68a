import GoTemplate
import Model
import Synchronization
import Testing

@Suite("Time zones")
struct GoLocationTests {
    /// A TZif file of version 2: changes, zones, and the rule for what comes after.
    struct TZif {
        var changes: [(at: Int64, zone: UInt8)] = []
        var zones: [(seconds: Int32, isSummer: Bool, name: String)] = []
        var rule = ""

        var bytes: [UInt8] {
            var names: [UInt8] = []
            var described: [UInt8] = []
            for zone in zones {
                described += Self.bigEndian(zone.seconds)
                described += [zone.isSummer ? 1 : 0, UInt8(names.count)]
                names += Array(zone.name.utf8) + [0]
            }
            let header = { (counts: [Int32]) -> [UInt8] in
                Array("TZif2".utf8) + [UInt8](repeating: 0, count: 15)
                    + counts.flatMap(Self.bigEndian)
            }
            // The old part has one zone, which nobody looks at.
            return header([0, 0, 0, 0, 1, 4]) + [0, 0, 0, 0, 0, 0] + Array("UTC\0".utf8)
                + header([0, 0, 0, Int32(changes.count), Int32(zones.count), Int32(names.count)])
                + changes.flatMap { Self.bigEndian($0.at) } + changes.map(\.zone) + described
                + names + Array("\n\(rule)\n".utf8)
        }

        private static func bigEndian(_ value: some FixedWidthInteger) -> [UInt8] {
            withUnsafeBytes(of: value.bigEndian) { Array($0) }
        }
    }

    /// As central Europe has it since 1996, from 1893 on.
    static let berlin = TZif(
        changes: [(-2_422_054_408, 1), (828_234_000, 2), (846_378_000, 1)],
        zones: [(3208, false, "LMT"), (3600, false, "CET"), (7200, true, "CEST")],
        rule: "CET-1CEST,M3.5.0,M10.5.0/3"
    ).bytes
    static let locations = GoLocations { name in
        switch name {
        case "Europe/Berlin": berlin
        case "Etc/Damaged": Array(berlin.dropLast(60))
        default: nil
        }
    }

    static let rfc3339 = "2006-01-02T15:04:05Z07:00"

    static func text(_ instant: GoInstant) -> String {
        GoTime.format(instant, "2006-01-02 15:04:05 -0700 MST")
    }

    static func location(rule: String) throws -> GoLocation {
        let file = TZif(zones: [(0, false, "UTC")], rule: rule)
        return try #require(GoLocation(tzif: file.bytes))
    }

    @Test(
        "clocks show what the zone has",
        arguments: [
            ("1890-06-01T00:00:00Z", "1890-06-01 00:53:28 +0053 LMT"),
            ("1996-03-31T00:59:59Z", "1996-03-31 01:59:59 +0100 CET"),
            ("1996-03-31T01:00:00Z", "1996-03-31 03:00:00 +0200 CEST"),
            ("2023-03-26T00:59:59Z", "2023-03-26 01:59:59 +0100 CET"),
            ("2023-03-26T01:00:00Z", "2023-03-26 03:00:00 +0200 CEST"),
            ("2023-10-29T00:59:59Z", "2023-10-29 02:59:59 +0200 CEST"),
            ("2023-10-29T01:00:00Z", "2023-10-29 02:00:00 +0100 CET"),
            ("2399-12-31T23:30:00Z", "2400-01-01 00:30:00 +0100 CET"),
        ])
    func shown(utc: String, expected: String) throws {
        let berlin = try #require(Self.locations.location("Europe/Berlin"))
        let instant = try #require(GoTime.parse(Self.rfc3339, utc))
        #expect(Self.text(berlin.instant(instant)) == expected)
    }

    @Test(
        "a time is read where it is",
        arguments: [
            ("2006-01-02 15:04", "2023-07-01 12:00", "2023-07-01 12:00:00 +0200 CEST"),
            ("2006-01-02 15:04", "2023-12-01 12:00", "2023-12-01 12:00:00 +0100 CET"),
            // Clocks pass over it, and show it twice.
            ("2006-01-02 15:04", "2023-03-26 02:30", "2023-03-26 03:30:00 +0200 CEST"),
            ("2006-01-02 15:04", "2023-10-29 02:30", "2023-10-29 02:30:00 +0100 CET"),
            ("2006-01-02 15:04 MST", "2023-10-29 02:30 CEST", "2023-10-29 02:30:00 +0200 CEST"),
            ("2006-01-02 15:04 MST", "2023-07-01 12:00 CET", "2023-07-01 13:00:00 +0200 CEST"),
            ("2006-01-02 15:04 MST", "2023-07-01 12:00 UTC", "2023-07-01 12:00:00 +0000 UTC"),
            ("2006-01-02 15:04 MST", "2023-07-01 12:00 XYZ", "2023-07-01 12:00:00 +0000 XYZ"),
            ("2006-01-02 15:04 MST", "2023-07-01 12:00 GMT-3", "2023-07-01 12:00:00 -0300 GMT-3"),
            ("2006-01-02 15:04 -0700", "2023-07-01 12:00 +0200", "2023-07-01 12:00:00 +0200 CEST"),
            ("2006-01-02 15:04 -0700", "2023-07-01 12:00 -0930", "2023-07-01 12:00:00 -0930 -0930"),
            ("2006-01-02T15:04Z07:00", "2023-07-01T12:00Z", "2023-07-01 12:00:00 +0000 UTC"),
        ])
    func read(layout: String, text: String, expected: String) throws {
        let berlin = try #require(Self.locations.location("Europe/Berlin"))
        let instant = try #require(GoTime.parse(layout, text, in: berlin))
        #expect(Self.text(instant) == expected)
    }

    @Test(
        "what is no zone's name is refused",
        arguments: ["ABCDEF 1", "ABCD 1", "AB 1", "+24 1", "abc 1"])
    func noZoneName(text: String) {
        #expect(GoTime.parse("MST 2", text) == nil)
    }

    @Test(
        "rules of all kinds",
        arguments: [
            ("<-03>3", "2024-07-01T12:00:00Z", "2024-07-01 09:00:00 -0300 -03"),
            // The south.
            (
                "AEST-10AEDT,M10.1.0,M4.1.0/3", "2024-01-15T01:00:00Z",
                "2024-01-15 12:00:00 +1100 AEDT"
            ),
            (
                "AEST-10AEDT,M10.1.0,M4.1.0/3", "2024-07-15T01:00:00Z",
                "2024-07-15 11:00:00 +1000 AEST"
            ),
            (
                "AEST-10AEDT,M10.1.0,M4.1.0/3", "2024-04-06T15:59:59Z",
                "2024-04-07 02:59:59 +1100 AEDT"
            ),
            (
                "AEST-10AEDT,M10.1.0,M4.1.0/3", "2024-04-06T16:00:00Z",
                "2024-04-07 02:00:00 +1000 AEST"
            ),
            // Winter is what is set aside in Ireland.
            ("IST-1GMT0,M10.5.0,M3.5.0/1", "2024-01-15T12:00:00Z", "2024-01-15 12:00:00 +0000 GMT"),
            ("IST-1GMT0,M10.5.0,M3.5.0/1", "2024-07-15T12:00:00Z", "2024-07-15 13:00:00 +0100 IST"),
            // The day before the fifth Sunday; hours before the day's begin.
            (
                "<-02>2<-01>,M3.5.0/-1,M10.5.0/0", "2024-03-31T00:59:59Z",
                "2024-03-30 22:59:59 -0200 -02"
            ),
            (
                "<-02>2<-01>,M3.5.0/-1,M10.5.0/0", "2024-03-31T01:00:00Z",
                "2024-03-31 00:00:00 -0100 -01"
            ),
            // By the day of the year: with and without February 29.
            ("EST5EDT,J60/0,J300/0", "2024-03-01T04:59:59Z", "2024-02-29 23:59:59 -0500 EST"),
            ("EST5EDT,J60/0,J300/0", "2024-03-01T05:00:00Z", "2024-03-01 01:00:00 -0400 EDT"),
            ("EST5EDT,59/0,300/0", "2024-02-29T05:00:00Z", "2024-02-29 01:00:00 -0400 EDT"),
            // Summer all the year.
            ("EST5EDT,0/0,J365/25", "2024-01-01T04:59:59Z", "2024-01-01 00:59:59 -0400 EDT"),
            ("EST5EDT,0/0,J365/25", "2024-01-01T05:00:00Z", "2024-01-01 01:00:00 -0400 EDT"),
            // No rule: what else the file has.
            ("A1AA-1BBB,J60/0,300/0", "2024-02-29T23:59:59Z", "2024-02-29 23:59:59 +0000 UTC"),
            ("EST5EDT,M13.1.0,M4.1.0", "2024-02-29T23:59:59Z", "2024-02-29 23:59:59 +0000 UTC"),
            // A fraction of an hour.
            ("<+0545>-5:45", "2024-01-01T00:00:00Z", "2024-01-01 05:45:00 +0545 +0545"),
        ])
    func rules(rule: String, utc: String, expected: String) throws {
        let instant = try #require(GoTime.parse(Self.rfc3339, utc))
        #expect(Self.text(try Self.location(rule: rule).instant(instant)) == expected)
    }

    @Test("names that lead elsewhere, and damaged files, are no zones")
    func unknown() {
        let asked = Mutex<[String]>([])
        let locations = GoLocations { name in
            asked.withLock { $0.append(name) }
            return Self.locations.location(name) == nil ? nil : Self.berlin
        }
        for name in ["../etc/passwd", "/etc/passwd", "a/../b", "a//b", "a\\b", "a\0b", "."] {
            #expect(locations.location(name) == nil)
        }
        #expect(asked.withLock { $0 } == [])
        #expect(locations.location("Mars/Base") == nil)
        #expect(locations.location("Mars/Base") == nil)
        #expect(asked.withLock { $0 } == ["Mars/Base"])
        #expect(Self.locations.location("Etc/Damaged") == nil)
        for count in 0..<Self.berlin.count { _ = GoLocation(tzif: Array(Self.berlin[..<count])) }
        #expect(GoLocation(tzif: Array("TZif".utf8)) == nil)
    }

    @Test("methods and layouts show what clocks do")
    func methods() throws {
        let template = try GoTemplate(
            #"{{.Hour}} {{.Day}} {{.Weekday}} {{.UTC.Hour}} {{.Format "Z07:00 -07 MST"}} {{.Unix}}"#
        )
        let berlin = try #require(Self.locations.location("Europe/Berlin"))
        let time = berlin.instant(GoInstant(seconds: 1_688_250_600, nanosecond: 0))
        #expect(
            try template.expand(.instant(time)) == "0 2 Sunday 22 +02:00 +02 CEST 1688250600")
    }
}
