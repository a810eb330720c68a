import AgentRead
import Glibc
import Model
import Testing
import World

@Suite("File system reader")
struct FileSystemReaderTests {
    static let table = """
        25 29 0:23 / /proc rw,nosuid shared:13 - proc proc rw
        28 29 0:25 / /run rw,nosuid shared:5 - tmpfs tmpfs rw,size=10k
        29 1 259:2 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
        30 1 259:3 / /mnt/two\\040words\\134x ro,relatime - ext4 /dev/sdb1 rw
        31 1 259:4 / /srv rw - xfs /dev/sdc1 ro,noquota
        32 1 0:50 / /net rw shared:1 master:2 - nfs4 nas:/export rw
        33 1 0:51 / /var/lib/docker/overlay2/x rw - ext4 /dev/sda1 rw
        34 1 0:52 / /dev/shm rw - tmpfs tmpfs rw

        """

    static func tree(_ path: String = "/proc/1/mountinfo") -> MemoryTree {
        MemoryTree([path: table])
    }

    static func samples(_ reader: FileSystemReader) throws -> [String: Double] {
        NodeReaderTests.samples(try reader.read(now: TimestampNS(0)))
    }

    @Test("mounts, escapes, read-only, exclusions", arguments: ["1", "self"])
    func mounts(process: String) throws {
        let samples = try Self.samples(
            FileSystemReader(
                tree: Self.tree("/proc/\(process)/mountinfo"), paths: NodePaths(), host: FakeHost())
        )
        let mountPoints = samples.keys.filter { $0.hasPrefix("node_filesystem_size_bytes") }
        #expect(mountPoints.count == 5)
        let root = "{device=\"/dev/sda1\",fstype=\"ext4\",mountpoint=\"/\"}"
        #expect(samples["node_filesystem_size_bytes" + root] == 1000)
        #expect(samples["node_filesystem_free_bytes" + root] == 500)
        #expect(samples["node_filesystem_avail_bytes" + root] == 400)
        #expect(samples["node_filesystem_files" + root] == 10)
        #expect(samples["node_filesystem_files_free" + root] == 5)
        #expect(samples["node_filesystem_readonly" + root] == 0)
        #expect(samples["node_filesystem_device_error" + root] == 0)
        // The text format doubles the backslash once more.
        let escaped = "{device=\"/dev/sdb1\",fstype=\"ext4\",mountpoint=\"/mnt/two words\\\\x\"}"
        #expect(samples["node_filesystem_readonly" + escaped] == 1)
        let superReadOnly = "{device=\"/dev/sdc1\",fstype=\"xfs\",mountpoint=\"/srv\"}"
        #expect(samples["node_filesystem_readonly" + superReadOnly] == 1)
        #expect(
            samples[
                "node_filesystem_mount_info{device=\"nas:/export\",major=\"0\",minor=\"50\",mountpoint=\"/net\"}"
            ] == 1)
    }

    @Test("a failing statvfs is a device error and nothing else")
    func failing() throws {
        let host = FakeHost { (path) throws(ReadError) in
            throw .system(operation: "statvfs \(path)", errno: 13)
        }
        let samples = try Self.samples(
            FileSystemReader(tree: Self.tree(), paths: NodePaths(), host: host))
        #expect(!samples.keys.contains { $0.hasPrefix("node_filesystem_size_bytes") })
        #expect(
            samples[
                "node_filesystem_device_error{device=\"/dev/sda1\",device_error=\"errno 13\",fstype=\"ext4\",mountpoint=\"/\"}"
            ] == 1)
    }

    @Test("paths are asked below the root folder, and named without it")
    func rootFolder() throws {
        let tree = MemoryTree([
            "/host/proc/1/mountinfo": """
            29 1 259:0 / /host rw - ext4 /dev/nvme1n0 rw
            30 1 260:0 / /host/media/volume1 rw - ext4 /dev/nvme1n1 rw
            """
        ])
        let host = FakeHost { (path) throws(ReadError) in
            guard path == "/host/" || path == "/host/media/volume1" else {
                throw .system(operation: "statvfs \(path)", errno: 2)
            }
            return FileSystemStatistics(
                size: 1, free: 1, available: 1, files: 1, filesFree: 1, isReadOnly: false)
        }
        let paths = NodePaths(procfs: "/host/proc", rootfs: "/host/")
        let samples = try Self.samples(FileSystemReader(tree: tree, paths: paths, host: host))
        #expect(
            samples.keys.filter { $0.hasPrefix("node_filesystem_size_bytes") }.sorted() == [
                "node_filesystem_size_bytes{device=\"/dev/nvme1n0\",fstype=\"ext4\",mountpoint=\"/\"}",
                "node_filesystem_size_bytes{device=\"/dev/nvme1n1\",fstype=\"ext4\",mountpoint=\"/media/volume1\"}",
            ])
    }

    @Test("a hanging mount is marked stuck, the others are read, and it heals")
    func stuck() throws {
        var ends: [Int32] = [0, 0]
        try #require(pipe(&ends) == 0)
        let (readEnd, writeEnd) = (ends[0], ends[1])
        defer {
            close(readEnd)
            close(writeEnd)
        }
        let host = FakeHost { (path) throws(ReadError) in
            var byte: UInt8 = 0
            // Returns when the test writes a byte, as a mount does when its server is back.
            if path == "/net" { _ = Glibc.read(readEnd, &byte, 1) }
            return FileSystemStatistics(
                size: 1, free: 1, available: 1, files: 1, filesFree: 1, isReadOnly: false)
        }
        let reader = FileSystemReader(
            tree: Self.tree(), paths: NodePaths(), host: host, mountTimeoutMilliseconds: 200)
        let error =
            "node_filesystem_device_error{device=\"nas:/export\",device_error=\"mountpoint timeout\",fstype=\"nfs4\",mountpoint=\"/net\"}"
        for _ in 0..<2 {
            let samples = try Self.samples(reader)
            #expect(samples[error] == 1)
            #expect(
                samples.keys.filter { $0.hasPrefix("node_filesystem_size_bytes") }.count == 4)
        }
        // One byte ends the call that hangs, the next answers the call of a later round.
        var bytes: [UInt8] = [1, 1]
        var isHealed = false
        for _ in 0..<100 where !isHealed {
            _ = Glibc.write(writeEnd, &bytes, 2)
            isHealed = try Self.samples(reader)[error] == nil
        }
        #expect(isHealed)
    }

    @Test("a broken line is an error that names it")
    func broken() {
        let tree = MemoryTree(["/proc/1/mountinfo": Self.table + "35 1 0:1 / /x rw\n"])
        #expect(
            throws: ReadError.malformed(
                path: "/proc/1/mountinfo", detail: "line 9 is no mountinfo line")
        ) {
            try FileSystemReader(tree: tree, paths: NodePaths(), host: FakeHost()).read(
                now: TimestampNS(0))
        }
    }
}
