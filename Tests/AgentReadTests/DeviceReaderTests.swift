import AgentRead
import Model
import Testing
import World

@Suite("Readers of devices and file servers")
struct DeviceReaderTests {
    typealias Storage = StorageReaderTests

    @Test(
        "every fixture sample equals node_exporter's",
        .enabled(if: Conformance.isPresent, Storage.skipped))
    func conformance() throws {
        let tree = PosixTree()
        let paths = try Conformance.paths()
        let readers: [(any NodeReader, String, Int)] = [
            (BondingReader(tree: tree, paths: paths), "node_bonding_", 6),
            (MemoryErrorReader(tree: tree, paths: paths), "node_edac_", 20),
            (PowerSupplyReader(tree: tree, paths: paths), "node_power_supply_", 12),
            (IPVSReader(tree: tree, paths: paths), "node_ipvs_", 35),
            (NFSReader(tree: tree, paths: paths), "node_nfs_", 105),
            (NFSServerReader(tree: tree, paths: paths), "node_nfsd_", 90),
        ]
        for (reader, prefix, count) in readers {
            try Conformance.expectEqual(
                reader.read(now: NodeReaderTests.now), owning: [prefix], count: count,
                file: Conformance.all)
        }
        // The path is the one that the program was told of; the expectation was made in node_exporter's own folder.
        let energy = try EnergyReader(tree: tree, paths: paths).read(now: NodeReaderTests.now)
        let rebased = energy.map { family in
            var family = family
            family.points = family.points.map { point in
                let path = point.labels["path"].dropFirst(paths.sysfs.count)
                return .init(
                    point.labels.setting("path", "collector/fixtures/sys\(path)"), point.value)
            }
            return family
        }
        try Conformance.expectEqual(
            rebased, owning: ["node_rapl_"], count: 2, file: Conformance.all)
    }

    @Test("a host without any of it: no families and no error")
    func nothing() throws {
        let tree = MemoryTree(["/sys/class/net/eth0/mtu": "1500\n"])
        let paths = NodePaths()
        let readers: [any NodeReader] = [
            BondingReader(tree: tree, paths: paths), MemoryErrorReader(tree: tree, paths: paths),
            PowerSupplyReader(tree: tree, paths: paths), EnergyReader(tree: tree, paths: paths),
            IPVSReader(tree: tree, paths: paths), NFSReader(tree: tree, paths: paths),
            NFSServerReader(tree: tree, paths: paths),
        ]
        #expect(
            readers.map(\.name) == [
                "bonding", "edac", "powersupplyclass", "rapl", "ipvs", "nfs", "nfsd",
            ])
        for reader in readers {
            #expect(try reader.read(now: NodeReaderTests.now) == [], "\(reader.name)")
        }
    }

    @Test("bonding: both names of the link; a bond that is taken apart is left out")
    func bonding() throws {
        let net = "/sys/class/net"
        let tree = MemoryTree([
            net + "/bonding_masters": "bond1 bond0 bond2\n",
            net + "/bond0/bonding/slaves": "eth0 eth1\n",
            net + "/bond0/lower_eth0/bonding_slave/mii_status": "up\n",
            net + "/bond0/slave_eth1/bonding_slave/mii_status": "down\n",
            net + "/bond1/bonding/slaves": "eth2\n", net + "/bond2/bonding/slaves": "\n",
        ])
        let reader = BondingReader(tree: tree, paths: NodePaths())
        #expect(
            try Storage.samples(reader) == [
                "node_bonding_slaves{master=\"bond0\"}": 2,
                "node_bonding_active{master=\"bond0\"}": 1,
                "node_bonding_slaves{master=\"bond2\"}": 0,
                "node_bonding_active{master=\"bond2\"}": 0,
            ])
        let refusing = RefusingTree(tree, refused: [net + "/bonding_masters": 5])
        #expect(throws: ReadError.self) {
            try BondingReader(tree: refusing, paths: NodePaths()).read(now: NodeReaderTests.now)
        }
    }

    @Test("edac: labels of modules, counters that a driver lacks")
    func memoryErrors() throws {
        let root = "/sys/devices/system/edac/mc"
        let tree = MemoryTree([
            root + "/mc12/ce_count": "3\n", root + "/mc12/ue_count": "0\n",
            root + "/mc12/ce_noinfo_count": "1\n", root + "/mc12/csrow4/ce_count": "2\n",
            root + "/mc12/csrow4/ch1_ce_count": "2\n",
            root + "/mc12/csrow4/ch1_dimm_label": "mc#12csrow#4channel#1\n",
            root + "/mc12/csrow4/ch10_ce_count": "5\n", root + "/mc12/csrow4/chx_ce_count": "?\n",
            root + "/mcx/ce_count": "?\n", root + "/mc1x/ce_count": "?\n",
            root + "/power/control": "auto\n",
        ])
        let reader = MemoryErrorReader(tree: tree, paths: NodePaths())
        let channel = "node_edac_channel_correctable_errors_total"
        #expect(
            try Storage.samples(reader) == [
                "node_edac_correctable_errors_total{controller=\"12\"}": 3,
                "node_edac_uncorrectable_errors_total{controller=\"12\"}": 0,
                "node_edac_csrow_correctable_errors_total{controller=\"12\",csrow=\"unknown\"}": 1,
                "node_edac_csrow_correctable_errors_total{controller=\"12\",csrow=\"4\"}": 2,
                "\(channel){channel=\"1\",controller=\"12\",csrow=\"4\",dimm_label=\"mc12_csrow4_channel1\"}":
                    2,
                "\(channel){channel=\"10\",controller=\"12\",csrow=\"4\",dimm_label=\"unknown\"}":
                    5,
            ])
        tree.create(root + "/mc12/ue_count", "-1\n")
        #expect(Storage.malformed(reader) == root + "/mc12/ue_count")
    }

    @Test("powersupplyclass: negative numbers, units, values that a driver refuses, the filter")
    func powerSupplies() throws {
        let root = "/sys/class/power_supply"
        let tree = MemoryTree([
            root + "/BAT0/current_now": "-1500000\n", root + "/BAT0/temp": "-55\n",
            root + "/BAT0/capacity": "81\n", root + "/BAT0/model_name": " A B \n",
            root + "/BAT0/voltage_now": "1\n", root + "/hid-1/capacity": "7\n",
        ])
        let refusing = RefusingTree(tree, refused: [root + "/BAT0/voltage_now": 61])
        let reader = PowerSupplyReader(
            tree: refusing, paths: NodePaths(), excludes: { $0.hasPrefix("hid") })
        #expect(
            try Storage.samples(reader) == [
                "node_power_supply_current_ampere{power_supply=\"BAT0\"}": -1.5,
                "node_power_supply_temp_celsius{power_supply=\"BAT0\"}": -5.5,
                "node_power_supply_capacity{power_supply=\"BAT0\"}": 81,
                "node_power_supply_info{model_name=\"A B\",power_supply=\"BAT0\"}": 1,
            ])
        let all = PowerSupplyReader(tree: tree, paths: NodePaths())
        #expect(
            try Storage.samples(all)["node_power_supply_capacity{power_supply=\"hid-1\"}"] == 7)
        tree.create(root + "/BAT0/capacity", "full\n")
        #expect(Storage.malformed(all) == root + "/BAT0/capacity")
    }

    @Test("rapl: zones' names and numbers, the zone's label, a host that keeps them from us")
    func energy() throws {
        let root = "/sys/class/powercap"
        var files = ["\(root)/intel-rapl/enabled": "1\n", "\(root)/dtpm:0/name": "dtpm\n"]
        for (zone, name) in [
            ("a:0", "package-1"), ("a:1", "dram"), ("a:2", "dram"), ("a:3", "package-0-die-1"),
            ("a:4", "x -_y"),
        ] {
            files["\(root)/\(zone)/name"] = name + "\n"
            files["\(root)/\(zone)/energy_uj"] = "1500000\n"
        }
        let tree = MemoryTree(files)
        let reader = EnergyReader(tree: tree, paths: NodePaths())
        let families = try reader.read(now: NodeReaderTests.now)
        #expect(Set(NodeReaderTests.samples(families).values) == [1.5])
        #expect(
            NodeReaderTests.samples(families).keys.sorted() == [
                "node_rapl_dram_joules_total{index=\"0\",path=\"\(root)/a:1\"}",
                "node_rapl_dram_joules_total{index=\"1\",path=\"\(root)/a:2\"}",
                "node_rapl_package_0_die_1_joules_total{index=\"0\",path=\"\(root)/a:3\"}",
                "node_rapl_package_joules_total{index=\"1\",path=\"\(root)/a:0\"}",
                "node_rapl_x_y_joules_total{index=\"0\",path=\"\(root)/a:4\"}",
            ])
        #expect(
            families.first { $0.name.contains("die") }?.metadata.help
                == "Current RAPL package-0-die-1 value in joules")
        let labelled = EnergyReader(tree: tree, paths: NodePaths(), hasZoneLabel: true)
        let samples = try Storage.samples(labelled)
        #expect(samples.count == 5)
        #expect(
            samples[
                "node_rapl_joules_total{index=\"1\",path=\"\(root)/a:2\",rapl_zone=\"dram\"}"]
                == 1.5)
        for errno: Int32 in [1, 13] {
            let refusing = RefusingTree(tree, refused: [root + "/a:2/energy_uj": errno])
            let reader = EnergyReader(tree: refusing, paths: NodePaths())
            #expect(try reader.read(now: NodeReaderTests.now) == [])
        }
        tree.create(root + "/a:0/energy_uj", "\n")
        #expect(Storage.malformed(reader) == root + "/a:0/energy_uj")
    }

    static let ipvsStats = """
           Total Incoming Outgoing         Incoming         Outgoing
           Conns  Packets  Packets            Bytes            Bytes
               A       FF        0     51D8C8883AB3                1

         Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s
               4    1FB3C        0          1282A8F                0

        """
    static let ipvsTable = """
        IP Virtual Server version 1.2.1 (size=4096)
        Prot LocalAddress:Port Scheduler Flags
          -> RemoteAddress:Port Forward Weight ActiveConn InActConn
        TCP  [2001:0DB8:0000:0000:0001:0000:0000:0001]:0050 wlc
          -> [0000:0000:0000:0000:0000:FFFF:C0A8:5216]:0CEA      Tunnel  100    248        2
          -> [0000:0000:0000:0000:0000:0000:0000:0001]:0050      Route   50     2          3
        SCTP C0A80016:0CEA rr
          -> C0A85216:0CEA      Tunnel  1      4          5

        """

    @Test("ipvs: addresses of version 6, SCTP")
    func ipvs() throws {
        let tree = MemoryTree([
            "/proc/net/ip_vs_stats": Self.ipvsStats, "/proc/net/ip_vs": Self.ipvsTable,
        ])
        let samples = try Storage.samples(IPVSReader(tree: tree, paths: NodePaths()))
        #expect(samples["node_ipvs_connections_total"] == 10)
        #expect(samples["node_ipvs_incoming_packets_total"] == 255)
        #expect(samples["node_ipvs_outgoing_bytes_total"] == 1)
        let weights = samples.filter { $0.key.hasPrefix("node_ipvs_backend_weight") }
        let six = "local_address=\"2001:db8::1:0:0:1\",local_port=\"80\",proto=\"TCP\""
        #expect(
            weights == [
                "node_ipvs_backend_weight{\(six),remote_address=\"192.168.82.22\",remote_port=\"3306\"}":
                    100,
                "node_ipvs_backend_weight{\(six),remote_address=\"::1\",remote_port=\"80\"}": 50,
                "node_ipvs_backend_weight{local_address=\"192.168.0.22\",local_port=\"3306\",proto=\"SCTP\",remote_address=\"192.168.82.22\",remote_port=\"3306\"}":
                    1,
            ])
    }

    @Test(
        "ipvs: what is malformed",
        arguments: [
            ("ip_vs_stats", "a\nb\n"), ("ip_vs_stats", "a\nb\n1 2 3 4\n"),
            ("ip_vs_stats", "a\nb\n1 2 3 4 5 6\n"), ("ip_vs_stats", "a\nb\n1 2 3 4 -5\n"),
            ("ip_vs", "TCP  C0A80016 wlc\n"), ("ip_vs", "TCP  C0A80016:10000 wlc\n"),
            ("ip_vs", "TCP  [1:2]:0050 wlc\n"), ("ip_vs", "  -> C0A80016:0CEA Tunnel 1 2\n"),
            ("ip_vs", "  -> C0A80016:0CEA Tunnel 1 2 x\n"),
        ])
    func ipvsMalformed(file: String, text: String) {
        let tree = MemoryTree([
            "/proc/net/ip_vs_stats": Self.ipvsStats, "/proc/net/ip_vs": Self.ipvsTable,
        ])
        tree.create("/proc/net/" + file, text)
        let reader = IPVSReader(tree: tree, paths: NodePaths())
        #expect(Storage.malformed(reader) == "/proc/net/" + file)
    }

    @Test("nfs and nfsd: lines and procedures that a kernel lacks are zeros")
    func nfs() throws {
        let tree = MemoryTree([
            "/proc/net/rpc/nfs": "net 1 2 3 4\nproc4 3 10 11 12\nnew 1 x\n",
            "/proc/net/rpc/nfsd":
                "th 8 0 0.000\nproc4ops 39" + (1...39).map { " \($0)" }.joined() + "\n",
        ])
        let client = try Storage.samples(NFSReader(tree: tree, paths: NodePaths()))
        #expect(client.count == 105)
        #expect(client["node_nfs_packets_total{protocol=\"udp\"}"] == 2)
        #expect(client["node_nfs_connections_total"] == 4)
        #expect(client["node_nfs_rpcs_total"] == 0)
        #expect(client["node_nfs_requests_total{method=\"Write\",proto=\"4\"}"] == 12)
        #expect(client["node_nfs_requests_total{method=\"Clone\",proto=\"4\"}"] == 0)
        #expect(client["node_nfs_requests_total{method=\"WrCache\",proto=\"2\"}"] == 0)
        let server = try Storage.samples(NFSServerReader(tree: tree, paths: NodePaths()))
        #expect(server.count == 90)
        #expect(server["node_nfsd_server_threads"] == 8)
        #expect(server["node_nfsd_requests_total{method=\"Access\",proto=\"4\"}"] == 4)
        #expect(server["node_nfsd_requests_total{method=\"Write\",proto=\"4\"}"] == 39)
        #expect(server["node_nfsd_requests_total{method=\"RelLockOwner\",proto=\"4\"}"] == 0)
    }

    @Test(
        "nfs and nfsd: what is malformed",
        arguments: [
            "net 1 2 3\n", "net 1 2 x 4\n", "proc3 2 1\n", "proc3 2 1 2\n", "proc3 x\n", "proc2\n",
        ])
    func nfsMalformed(text: String) {
        let tree = MemoryTree(["/proc/net/rpc/nfs": text, "/proc/net/rpc/nfsd": text])
        #expect(
            Storage.malformed(NFSReader(tree: tree, paths: NodePaths())) == "/proc/net/rpc/nfs")
        #expect(
            Storage.malformed(NFSServerReader(tree: tree, paths: NodePaths()))
                == "/proc/net/rpc/nfsd")
    }
}
