import AgentRead
import Gzip
import Model
import Testing
import World

@Suite("Posture: packages")
struct PostureUpdatesTests {
    @Test(
        "Debian's order of versions",
        arguments: [
            ("1.0", "1.0", 0), ("1.0-1", "1.0-1", 0), ("1.0", "1.0-0", 0), ("0:1.0", "1.0", 0),
            ("1.00", "1.0", 0), ("1.0", "1.1", -1), ("1.9", "1.10", -1), ("1.0-2", "1.0-10", -1),
            ("1:0.1", "2.0", 1), ("2:1", "10:1", -1), ("1.0~rc1", "1.0", -1),
            ("1.0~~", "1.0~", -1), ("1.0~", "1.0", -1), ("1.0a", "1.0", 1), ("1.0a", "1.0+", -1),
            ("1.0A", "1.0a", -1), ("1.0-1~deb12u1", "1.0-1", -1),
            ("7.88.1-10+deb12u5", "7.88.1-10+deb12u14", -1), ("1.2.3", "1.2-3", 1),
            ("1-2-3", "1-2", 1), ("2.36-9+deb12u9", "2.36-9+deb12u10", -1),
            ("99999999999999999999999", "100000000000000000000000", -1), ("", "", 0),
            ("", "~", 1), ("", "0", 0), ("6.1.0-9-amd64", "6.1.0-28-amd64", -1),
        ])
    func versions(a: String, b: String, order: Int) {
        #expect(DebianVersion.compare(a, b).signum() == order)
        #expect(DebianVersion.compare(b, a).signum() == -order)
    }

    private static let status = """
        Package: openssl
        Status: install ok installed
        Architecture: amd64
        Multi-Arch: foreign
        Version: 3.0.11-1~deb12u2
        Description: x
         Version: 9
         .
         Package: none

        Package: libc6
        Status: hold ok installed
        Architecture: amd64
        Version: 2.36-9+deb12u9

        Package: libc6
        Status: install ok installed
        Architecture: i386
        Version: 2.36-9+deb12u10

        Package: tzdata
        Status: install ok installed
        Architecture: all
        Version: 2024a-0+deb12u1

        Package: curl
        Status: deinstall ok config-files
        Architecture: amd64
        Version: 7.0-1

        Package: broken
        Status: install ok half-configured
        Architecture: amd64
        Version: 1
        """

    private static let list = """
        Package: openssl
        Version: 3.0.15-1~deb12u1
        Architecture: amd64

        Package: openssl
        Version: 3.0.11-1~deb12u1
        Architecture: amd64

        Package: libc6
        Architecture: amd64
        Version: 2.36-9+deb12u10

        Package: libc6
        Architecture: i386
        Version: 2.36-9+deb12u10

        Package: tzdata
        Version: 2025b-0+deb12u1
        Architecture: all

        Package: curl
        Version: 9
        Architecture: amd64

        Package: broken
        Version: 2
        Architecture: amd64
        """

    private static let debian = "Debian:bookworm-security/stable-security"

    @Test("packages with a newer version in a security list, by origin")
    func pending() throws {
        let result = try PostureHost.look([
            "/var/lib/dpkg/status": Self.status, PostureHost.list: Self.list,
            // Another suite does not count.
            "/var/lib/apt/lists/mirror.example_debian_dists_bookworm_main_binary-amd64_Packages":
                "Package: tzdata\nVersion: 9999\nArchitecture: all\n",
        ])
        #expect(
            result.counts("apt_upgrades_pending") == [
                Self.debian + " amd64": 3, Self.debian + " all": 1,
            ])
        #expect(result.counts("apt_upgrades_held") == [Self.debian + " amd64": 1])
        #expect(result.checks["security_updates"] == 0)
        #expect(result.actual["security_updates"] == "4 packages")
    }

    @Test("nothing pending is one point of 0")
    func nothing() throws {
        let result = try PostureHost.look()
        #expect(result.counts("apt_upgrades_pending") == [" ": 0])
        #expect(result.counts("apt_upgrades_held") == [" ": 0])
    }

    @Test("Ubuntu's lists; the newest of two lists counts once")
    func ubuntu() throws {
        let root = "/var/lib/apt/lists/"
        let base = root + "security.ubuntu.com_ubuntu_dists_noble-security"
        let result = try PostureHost.look([
            "/var/lib/dpkg/status": Self.status, PostureHost.list: Self.list,
            base + "_universe_binary-amd64_Packages":
                "Package: openssl\nVersion: 4\nArchitecture: amd64\n",
            base + "_InRelease": "Origin: Ubuntu\nSuite: noble-security\nCodename: noble\n",
        ])
        #expect(
            result.counts("apt_upgrades_pending") == [
                Self.debian + " amd64": 2, Self.debian + " all": 1,
                "Ubuntu:noble/noble-security amd64": 1,
            ])
    }

    @Test("a list that gzip packed, in several pieces")
    func packed() throws {
        var list = ""
        for number in 0..<5_000 {
            list += "Package: filler\(number)\nDescription: \(number) words of it\n"
            list += "Version: 1\nArchitecture: amd64\n\n"
        }
        let tree = PostureHost.tree(["/var/lib/dpkg/status": Self.status, PostureHost.list: nil])
        let path = PostureHost.list + ".gz"
        tree.create(path, bytes: try Gzip.compress(Array((list + Self.list).utf8)))
        tree.touch(path, seconds: PostureHost.seconds)
        let result = try PostureHost.read(PostureHost.reader(tree))
        #expect(result.actual["security_updates"] == "4 packages")
        tree.create(path, bytes: Array("no gzip".utf8))
        tree.touch(path, seconds: PostureHost.seconds)
        #expect(
            try PostureHost.read(PostureHost.reader(tree)).checks["security_updates"] == -1)
    }

    @Test(
        "what can't be counted is unknown, never 0",
        arguments: [
            ([PostureHost.list: nil], "apt has no list of a -security suite"),
            (
                [PostureHost.list + ".lz4": "x"], "lists are compressed with lz4"
            ),
            (["/var/lib/dpkg/status": ""], "/var/lib/dpkg/status has no package"),
            (
                [PostureHost.list: String(repeating: "x", count: 3 << 20)],
                "too large: " + PostureHost.list
            ),
        ] as [([String: String?], String)])
    func unknown(changes: [String: String?], reason: String) throws {
        let result = try PostureHost.look(changes)
        #expect(result.checks["security_updates"] == -1)
        #expect(result.actual["security_updates"] == String(reason.prefix(120)))
        #expect(result.families.allSatisfy { !$0.name.hasPrefix("apt_") })
    }

    @Test("lists that were not updated for a week are unknown; a stamp of apt's counts too")
    func stale() throws {
        let tree = PostureHost.tree()
        tree.touch(PostureHost.list, seconds: PostureHost.seconds - 8 * 86_400)
        let reader = PostureHost.reader(tree)
        #expect(try PostureHost.read(reader).checks["security_updates"] == -1)
        let stamp = "/var/lib/apt/periodic/update-success-stamp"
        tree.create(stamp)
        tree.touch(stamp, seconds: PostureHost.seconds - 60)
        #expect(
            try PostureHost.read(reader, afterSeconds: 3_600).checks["security_updates"] == 1)
    }

    @Test("lists are read once an hour at most, and not where nothing changed")
    func hourly() throws {
        let tree = PostureHost.tree()
        let reader = PostureHost.reader(tree)
        func count(_ seconds: Int64) throws -> String? {
            try PostureHost.read(reader, afterSeconds: seconds).actual["security_updates"]
        }
        #expect(try count(0) == "0 packages")
        tree.create("/var/lib/dpkg/status", Self.status)
        tree.create(PostureHost.list, Self.list)
        tree.touch(PostureHost.list, seconds: PostureHost.seconds)
        #expect(try count(120) == "0 packages")
        #expect(try count(3_599) == "0 packages")
        #expect(try count(3_600) == "4 packages")
    }

    @Test("where apt_info.py's file is the names are left to it")
    func others() throws {
        let result = try PostureHost.look(["/var/lib/prometheus/node-exporter/apt.prom": ""])
        #expect(
            result.families.allSatisfy {
                !$0.name.hasPrefix("apt_") && $0.name != "node_reboot_required"
            })
        #expect(result.checks["security_updates"] == 1)
    }

    @Test(
        "automatic updates: apt's configuration as people write it",
        arguments: [
            ("APT::Periodic::Unattended-Upgrade \"1\";", 1, "on"),
            ("APT { Periodic { Unattended-Upgrade \"7\"; }; };", 1, "on"),
            ("apt::periodic::unattended-upgrade always;", 1, "on"),
            ("APT::Periodic { Unattended-Upgrade \"12h\"; Enable \"1\" ; };", 1, "on"),
            ("APT::Periodic::Unattended-Upgrade \"0\";", 0, "off"),
            ("// APT::Periodic::Unattended-Upgrade \"1\";", 0, "off"),
            ("# APT::Periodic::Unattended-Upgrade \"1\";", 0, "off"),
            ("/* APT::Periodic::Unattended-Upgrade \"1\"; */", 0, "off"),
            (
                "APT::Periodic::Unattended-Upgrade \"1\";\nAPT::Periodic::Enable \"0\";", 0, "off"
            ),
            (
                "APT::Periodic::Unattended-Upgrade \"1\";\n#clear APT::Periodic;", 0, "off"
            ),
            (
                "Dpkg::Options { \"--force-confdef\"; };\nX::Url \"http://a{;\";\n"
                    + "APT::Periodic::Unattended-Upgrade \"1\";", 1, "on"
            ),
            (
                "APT::Periodic::Unattended-Upgrade \"soon\";", -1,
                "Unattended-Upgrade is no interval"
            ),
            ("}}};;; { \"", 0, "off"),
        ] as [(String, Double, String)])
    func unattended(text: String, value: Double, actual: String) throws {
        let result = try PostureHost.look(["/etc/apt/apt.conf.d/20auto-upgrades": text])
        #expect(result.checks["unattended_upgrades_enabled"] == value)
        #expect(result.actual["unattended_upgrades_enabled"] == actual)
        #expect((result.checks["unattended_upgrades_run"] != nil) == (value == 1))
    }

    @Test("automatic updates: the last file counts, and only files that apt reads")
    func order() throws {
        let folder = "/etc/apt/apt.conf.d/"
        let off = "APT::Periodic::Unattended-Upgrade \"0\";"
        let ignored = try PostureHost.look([
            folder + "10a": off, folder + "99a.bak": off, folder + "99a~": off,
        ])
        #expect(ignored.checks["unattended_upgrades_enabled"] == 1)
        #expect(
            try PostureHost.look([folder + "99a.conf": off])
                .checks["unattended_upgrades_enabled"] == 0)
        #expect(
            try PostureHost.look(["/etc/apt/apt.conf": off])
                .checks["unattended_upgrades_enabled"] == 0)
    }

    @Test("automatic updates: not installed, not run, run long ago")
    func run() throws {
        let absent = try PostureHost.look(["/usr/bin/unattended-upgrade": nil])
        #expect(absent.checks["unattended_upgrades_enabled"] == 0)
        #expect(absent.checks["unattended_upgrades_run"] == nil)
        let stamp = "/var/lib/apt/periodic/unattended-upgrades-stamp"
        #expect(try PostureHost.look([stamp: nil]).checks["unattended_upgrades_run"] == -1)
        let tree = PostureHost.tree()
        tree.touch(stamp, seconds: PostureHost.seconds - 4 * 86_400)
        let old = try PostureHost.read(PostureHost.reader(tree))
        #expect(old.checks["unattended_upgrades_run"] == 0)
        #expect(old.actual["unattended_upgrades_run"] == "4 days ago")
    }
}
