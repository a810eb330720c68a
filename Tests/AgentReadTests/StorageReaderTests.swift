import AgentRead
import Exposition
import Model
import Testing
import World

@Suite("Storage readers")
struct StorageReaderTests {
    static let skipped: Comment =
        "no node_exporter fixtures: set PETREL_CONFORMANCE to the conformance folder"

    static func samples(_ reader: any NodeReader) throws -> [String: Double] {
        NodeReaderTests.samples(try reader.read(now: NodeReaderTests.now))
    }

    /// The path of the malformed file; nil where the reader does not throw.
    static func malformed(_ reader: any NodeReader) -> String? {
        do {
            _ = try reader.read(now: NodeReaderTests.now)
            return nil
        } catch {
            guard case .malformed(let path, _) = error else { return "\(error)" }
            return path
        }
    }

    @Test(
        "every fixture sample equals node_exporter's", .enabled(if: Conformance.isPresent, skipped))
    func conformance() throws {
        let tree = PosixTree()
        let paths = try Conformance.paths()
        let now = NodeReaderTests.now
        try Conformance.expectEqual(
            NVMeReader(tree: tree, paths: paths).read(now: now), owning: ["node_nvme_"], count: 6,
            file: Conformance.all)
        try Conformance.expectEqual(
            RAIDReader(tree: tree, paths: paths).read(now: now), owning: ["node_md_"], count: 199,
            file: Conformance.all)
        try Conformance.expectEqual(
            XFSReader(tree: tree, paths: paths).read(now: now), owning: ["node_xfs_"], count: 39,
            file: Conformance.all)
        try Conformance.expectEqual(
            BtrfsReader(tree: tree, paths: paths).read(now: now), owning: ["node_btrfs_"],
            count: 42, file: Conformance.all)
    }

    @Test(
        "zfs: the fixtures' samples, help and types are node_exporter's",
        .enabled(if: Conformance.isPresent, skipped))
    func zfsConformance() throws {
        // How many datasets were left out is beside node_exporter's names.
        let families = try ZFSReader(tree: PosixTree(), paths: Conformance.paths())
            .read(now: NodeReaderTests.now).filter { $0.name.hasPrefix("node_") }
        let samples = try Conformance.expectedSamples(Conformance.all)
            .filter { $0.key.hasPrefix("node_zfs_") }
        #expect(samples.count == 359)
        #expect(NodeReaderTests.samples(families) == samples)
        let text = String(decoding: ExpositionWriter.text(families), as: UTF8.self)
        let heads = text.split(separator: "\n").filter { $0.hasPrefix("# ") }
            .map { String($0.dropFirst(2)) }
        let expected = try Conformance.expectedHeads(Conformance.all)
            .filter { $0.dropFirst(5).hasPrefix("node_zfs_") }
        #expect(expected.count == 2 * 278)
        #expect(Set(heads) == expected)
    }

    @Test("a host without any of it: no families and no error")
    func nothing() throws {
        let tree = MemoryTree(["/sys/block/sda/size": "1\n", "/sys/class/nvme-subsystem/x": ""])
        let paths = NodePaths()
        let readers: [any NodeReader] = [
            NVMeReader(tree: tree, paths: paths), RAIDReader(tree: tree, paths: paths),
            XFSReader(tree: tree, paths: paths), BtrfsReader(tree: tree, paths: paths),
            ZFSReader(tree: tree, paths: paths),
        ]
        #expect(readers.map(\.name) == ["nvme", "mdadm", "xfs", "btrfs", "zfs"])
        for reader in readers {
            #expect(try reader.read(now: NodeReaderTests.now) == [], "\(reader.name)")
        }
    }

    @Test("nvme: older kernels have no nuse and no ana_state; paths of a namespace are none")
    func nvme() throws {
        let root = "/sys/class/nvme/nvme10"
        let tree = MemoryTree([
            root + "/model": "Disk \n", root + "/serial": "  S1  \n", root + "/state": "live\n",
            root + "/firmware_rev": "F\n", root + "/nvme10n2/size": "1000\n",
            root + "/nvme10n2/queue/logical_block_size": "512\n",
            root + "/nvme10c0n1/size": "1000\n",
            root + "/nvme10c0n1/queue/logical_block_size": "512\n", root + "/ng10n2/dev": "1\n",
            root + "/nvmen3/size": "9\n",
        ])
        let reader = NVMeReader(tree: tree, paths: NodePaths())
        let labels = "{device=\"nvme10\",nsid=\"2\"}"
        #expect(
            try Self.samples(reader) == [
                "node_nvme_info{device=\"nvme10\",firmware_revision=\"F\",model=\"Disk\",serial=\"S1\",state=\"live\"}":
                    1,
                "node_nvme_namespace_info{ana_state=\"unknown\",device=\"nvme10\",nsid=\"2\"}": 1,
                "node_nvme_namespace_capacity_bytes\(labels)": 512_000,
                "node_nvme_namespace_size_bytes\(labels)": 512_000,
                "node_nvme_namespace_logical_block_size_bytes\(labels)": 512,
            ])
        tree.create(root + "/nvme10n2/nuse", "10\n")
        #expect(try Self.samples(reader)["node_nvme_namespace_used_bytes\(labels)"] == 5120)
        tree.create(root + "/nvme10n2/size", "many\n")
        #expect(Self.malformed(reader) == root + "/nvme10n2/size")
        // Too large for the product: it wraps as node_exporter's does.
        tree.create(root + "/nvme10n2/size", "36028797018963969\n")
        #expect(try Self.samples(reader)["node_nvme_namespace_size_bytes\(labels)"] == 512)
    }

    static func raid(_ mdstat: String, _ files: [String: String] = [:]) -> RAIDReader {
        let tree = MemoryTree(files)
        tree.create("/proc/mdstat", mdstat)
        return RAIDReader(tree: tree, paths: NodePaths())
    }

    /// The lines of an array, its state, and the disks required, active, failed and spare, then blocks and synced ones.
    static let arrays: [(String, String?, [Double])] = [
        (
            "md1 : active raid5 sda[0] sdb[1](F) sdc[2](S)\n"
                + "      100 blocks super 1.2 level 5, 512k chunk, algorithm 2 [3/2] [U_U]\n"
                + "      [=>...]  reshape =  8.5% (40/100) finish=17.0min speed=9K/sec\n"
                + "      bitmap: 0/30 pages [0KB], 65536KB chunk\n", nil, [3, 2, 1, 1, 100, 40]
        ),
        (
            "md1 : active raid1 sda[0] sdb[1]\n      100 blocks [2/2] [UU]\n"
                + "      bitmap: 0/30 pages [0KB], 65536KB chunk\n"
                + "      [=>...]  check =  8.5% (40/100) finish=17.0min speed=9K/sec\n", "check",
            [2, 2, 0, 0, 100, 40]
        ),
        (
            "md1 : active raid1 sda[0] sdb[1]\n      100 blocks [2/2] [UU]\n"
                + "      resync=REMOTE\n", "resync", [2, 2, 0, 0, 100, 0]
        ),
        (
            "md1 : active raid1 sda[0] sdb[1]\n      100 blocks [2/1] [U_]\n"
                + "      recovery=DELAYED\n", "recovering", [2, 1, 0, 0, 100, 0]
        ),
        (
            "md1 : inactive sda[0](S) sdb[1](S)\n      100 blocks super 1.2\n       \n",
            "inactive", [0, 0, 0, 2, 100, 100]
        ),
        (
            "md1 : active raid0 sda[0] sdb[1]\n      18446744073709551615 blocks 64k chunks\n\n",
            "active", [2, 2, 0, 0, 18_446_744_073_709_551_616, 18_446_744_073_709_551_616]
        ),
    ]

    @Test("mdadm: states, disks and blocks", arguments: arrays)
    func raidArray(lines: String, state: String?, numbers: [Double]) throws {
        let text = "Personalities : [raid1] [raid5]\n\n\(lines)\nunused devices: <none>\n"
        let samples = try Self.samples(Self.raid(text))
        let states = ["active", "inactive", "recovering", "resync", "check"].filter {
            samples["node_md_state{device=\"md1\",state=\"\($0)\"}"] == 1
        }
        #expect(states == (state.map { [$0] } ?? []))
        let names = [
            "disks_required{device=\"md1\"}", "disks{device=\"md1\",state=\"active\"}",
            "disks{device=\"md1\",state=\"failed\"}", "disks{device=\"md1\",state=\"spare\"}",
            "blocks{device=\"md1\"}", "blocks_synced{device=\"md1\"}",
        ]
        #expect(names.map { samples["node_md_" + $0] } == numbers)
        #expect(samples.count == 11)
    }

    @Test(
        "mdadm: what is not understood throws, so that no array looks healthy",
        arguments: [
            "md1 : active raid1 sda[0]\n      100 blocks [2/1] [U_]\n",
            "md1 : active raid1 sda[0]\n      blocks [2/1] [U_]\n\n\n",
            "md1 : active raid1 sda[0]\n\n\n\n",
            "md1 : active raid1 sda[0]\n      100 blocks [2/] [U_]\n\n\n",
            "md1 : active raid1 sda[0]\n      100 blocks [2/1] [UX]\n\n\n",
            "md1 : active raid1 sda[0]\n      100 blocks [2/1] [U_]\n  recovery = 8% (x/1)\n\n",
            "md1 :\n\n\n\n", "md1", "md1 : active raid1 sda[0]\n 99999999999999999999 blocks\n\n\n",
        ])
    func raidMalformed(text: String) {
        #expect(Self.malformed(Self.raid(text)) == "/proc/mdstat")
    }

    @Test("mdadm: disks from sysfs; a reshape, a container, an array that goes")
    func raidDisks() throws {
        let files = [
            "/sys/block/md0/md/level": "raid5\n", "/sys/block/md0/md/raid_disks": "11 (10)\n",
            "/sys/block/md0/md/degraded": "1\n", "/sys/block/md1/md/level": "container\n",
            "/sys/block/md1/md/raid_disks": "2\n", "/sys/block/md2/md/level": "\n",
            "/sys/block/md3/md/level": "raid0\n", "/sys/block/md3/md/raid_disks": "\n",
            "/sys/block/md4/md/level": "raid1\n", "/sys/block/md5/size": "1\n",
            "/sys/block/sda/md/level": "raid1\n",
        ]
        #expect(
            try Self.samples(Self.raid("Personalities : \nunused devices: <none>\n", files)) == [
                "node_md_raid_disks{device=\"md0\"}": 11, "node_md_degraded{device=\"md0\"}": 1,
                "node_md_degraded{device=\"md1\"}": 0, "node_md_degraded{device=\"md2\"}": 0,
                "node_md_degraded{device=\"md3\"}": 0,
            ])
        let reader = Self.raid(
            "unused devices: <none>\n", files.merging(["/sys/block/md0/md/degraded": "?"]) { $1 })
        #expect(Self.malformed(reader) == "/sys/block/md0/md/degraded")
        // Without the driver sysfs isn't asked either.
        let tree = MemoryTree(files)
        let none = RAIDReader(tree: tree, paths: NodePaths())
        #expect(try none.read(now: NodeReaderTests.now) == [])
    }

    @Test("xfs: lines that are missing are zeros, new ones are passed over")
    func xfs() throws {
        let path = "/sys/fs/xfs/dm-0/stats/stats"
        let tree = MemoryTree([
            path: "rw 7 9 1\nnew_line a b\nabt 1 2 3 4\n", "/sys/fs/xfs/stats/stats": "rw 1 1\n",
        ])
        let reader = XFSReader(tree: tree, paths: NodePaths())
        let samples = try Self.samples(reader)
        #expect(samples.count == 39)
        #expect(samples["node_xfs_write_calls_total{device=\"dm-0\"}"] == 7)
        #expect(samples["node_xfs_read_calls_total{device=\"dm-0\"}"] == 9)
        #expect(
            samples["node_xfs_allocation_btree_records_deleted_total{device=\"dm-0\"}"] == 4)
        #expect(samples["node_xfs_vnode_active_total{device=\"dm-0\"}"] == 0)
        for text in ["rw 7\n", "rw 7 x\n", "rw\n", "rw 7 18446744073709551616\n"] {
            tree.create(path, text)
            #expect(Self.malformed(reader) == path, "\(text)")
        }
    }

    @Test("btrfs: kernels before 6.0, ratios, other folders")
    func btrfs() throws {
        let root = "/sys/fs/btrfs/aa-bb"
        let tree = MemoryTree([
            "/sys/fs/btrfs/features/raid1c34": "0\n", root + "/label": "\n",
            root + "/allocation/global_rsv_size": "512\n",
            root + "/allocation/data/flags": "1\n",
            root + "/allocation/data/bytes_reserved": "7\n",
            root + "/allocation/data/raid1c3/total_bytes": "30\n",
            root + "/allocation/data/raid1c3/used_bytes": "20\n",
            root + "/allocation/metadata/raid5/total_bytes": "3\n",
            root + "/devices/sda/size": "8\n", root + "/devices/sdb/size": "8\n",
            root + "/devices/sdc/size": "8\n",
        ])
        let reader = BtrfsReader(tree: tree, paths: NodePaths())
        var samples = try Self.samples(reader)
        #expect(samples["node_btrfs_info{uuid=\"aa-bb\"}"] == 1)
        #expect(samples["node_btrfs_commits_total{uuid=\"aa-bb\"}"] == 0)
        #expect(samples["node_btrfs_device_size_bytes{device=\"sdc\",uuid=\"aa-bb\"}"] == 4096)
        let data = "{block_group_type=\"data\",mode=\"raid1c3\",uuid=\"aa-bb\"}"
        #expect(samples["node_btrfs_allocation_ratio" + data] == 3)
        #expect(samples["node_btrfs_size_bytes" + data] == 30)
        #expect(samples["node_btrfs_used_bytes" + data] == 20)
        let metadata = "{block_group_type=\"metadata\",mode=\"raid5\",uuid=\"aa-bb\"}"
        #expect(samples["node_btrfs_allocation_ratio" + metadata] == 1.5)
        #expect(samples["node_btrfs_used_bytes" + metadata] == 0)
        // An info, a reserve, four of commits, three reserved, three for each of two modes, three devices.
        #expect(samples.count == 18)
        tree.create(root + "/metadata_uuid", "cc-dd\n")
        tree.create(root + "/commit_stats", "commits 3\nlast_commit_ms 1500\nnew 1\n")
        samples = try Self.samples(reader)
        #expect(samples["node_btrfs_commits_total{uuid=\"cc-dd\"}"] == 3)
        #expect(samples["node_btrfs_last_commit_seconds{uuid=\"cc-dd\"}"] == 1.5)
        tree.create(root + "/commit_stats", "commits three\n")
        #expect(Self.malformed(reader) == root + "/commit_stats")
    }

    @Test("zfs: types, names with dashes and spaces, what is malformed")
    func zfs() throws {
        let root = "/proc/spl/kstat/zfs"
        let head = "24 1 0x01 7 2160 1 2\nname                            type data\n"
        let tree = MemoryTree([
            root + "/fm": head + "a-b 4 18446744073709551615\nx.c 3 -5\ntext 7 4\nother 1 9\n",
            root + "/tank/objset-0x1": head + "dataset_name 7 n a\nwrites 4 12\nodd 3 1\n",
            root + "/tank/state": "SUSPENDED\n", root + "/dbufs": head,
        ])
        let reader = ZFSReader(tree: tree, paths: NodePaths())
        let samples = try Self.samples(reader)
        #expect(samples["node_zfs_fm_a_b"] == 18_446_744_073_709_551_616)
        #expect(samples["node_zfs_fm_c"] == -5)
        #expect(samples["node_zfs_zpool_dataset_writes{dataset=\"n a\",zpool=\"tank\"}"] == 12)
        #expect(samples["node_zfs_zpool_state{state=\"suspended\",zpool=\"tank\"}"] == 1)
        #expect(samples["node_zfs_zpool_state{state=\"online\",zpool=\"tank\"}"] == 0)
        #expect(samples["petrel_agent_zfs_datasets_left_out"] == 0)
        #expect(samples.count == 11)
        for (path, text) in [
            ("/fm", "no head\n"), ("/fm", head + "a 4 x\n"), ("/fm", head + "a 4 -1\n"),
            ("/tank/objset-0x1", head + "writes 4 x\n"),
            ("/tank/io", "1 2\nnread b c d e f g h i j k l\n1 2 3\n"),
        ] {
            let tree = MemoryTree([root + path: text])
            let reader = ZFSReader(tree: tree, paths: NodePaths())
            #expect(Self.malformed(reader) == root + path, "\(text)")
        }
    }

    @Test("zfs: datasets beyond the bound are left out and counted")
    func zfsBound() throws {
        var files: [String: String] = [:]
        for index in 0..<ZFSReader.datasetsMax + 2 {
            files["/proc/spl/kstat/zfs/tank/objset-\(index)"] =
                "name type data\ndataset_name 7 d\(index)\nreads 4 1\n"
        }
        let reader = ZFSReader(tree: MemoryTree(files), paths: NodePaths())
        let families = try reader.read(now: NodeReaderTests.now)
        #expect(
            families.map(\.name) == [
                "node_zfs_zpool_dataset_reads", "petrel_agent_zfs_datasets_left_out",
            ])
        #expect(families.first?.points.count == ZFSReader.datasetsMax)
        #expect(families.last?.points.map(\.value) == [2])
    }
}
