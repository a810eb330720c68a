import AgentRead
import Glibc
import Testing

/// A read past the end of a mapped file: survived inside the guard, the end of the process outside of it.
@Suite("Mapped reads")
struct MappedReadTests {
    private static let pageBytes = Int(sysconf(Int32(_SC_PAGESIZE)))

    /// Three pages of a file that has no name any more, each full of its number from 1.
    static func mapped() throws -> (descriptor: Int32, bytes: UnsafeRawBufferPointer) {
        let folder = try TemporaryFolder("mapped-read")
        defer { folder.remove() }
        let text = (1...3).map { String(repeating: "\($0)", count: pageBytes) }.joined()
        let path = try folder.write("mapped", text, modifiedSeconds: 0)
        let descriptor = open(path, O_RDWR)
        let start = try #require(
            mmap(nil, 3 * pageBytes, PROT_READ, MAP_SHARED, descriptor, 0))
        try #require(start != MAP_FAILED)
        return (descriptor, UnsafeRawBufferPointer(start: start, count: 3 * pageBytes))
    }

    private static func release(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) {
        munmap(UnsafeMutableRawPointer(mutating: bytes.baseAddress), bytes.count)
        close(descriptor)
    }

    @Test("guarded: zeros, and the caller is told")
    func guarded() throws {
        let (descriptor, bytes) = try MappedReadTests.mapped()
        defer { Self.release(descriptor, bytes) }
        #expect(MappedRead.prepare())
        MappedRead.begin()
        let whole = bytes[2 * Self.pageBytes]
        #expect(MappedRead.end())
        #expect(whole == UInt8(ascii: "3"))
        try #require(ftruncate(descriptor, off_t(Self.pageBytes)) == 0)
        for page in 0..<3 {
            MappedRead.begin()
            let byte = bytes[page * Self.pageBytes + 7]
            #expect(MappedRead.end() == (page == 0))
            #expect(byte == (page == 0 ? UInt8(ascii: "1") : 0))
        }
        // Told once: the page is zeros now, so the mapping is to be closed.
        MappedRead.begin()
        let again = bytes[Self.pageBytes]
        #expect(MappedRead.end())
        #expect(again == 0)
    }

    @Test("not guarded: the process ends by SIGBUS, as without the handler")
    func unguarded() async {
        await #expect(processExitsWith: .signal(SIGBUS)) {
            let (descriptor, bytes) = try MappedReadTests.mapped()
            MappedRead.prepare()
            MappedRead.begin()
            _ = MappedRead.end()
            try #require(ftruncate(descriptor, 0) == 0)
            exit(Int32(bytes[0]))
        }
    }

    @Test("a SIGBUS that another process sends ends this one, guarded or not")
    func sent() async {
        await #expect(processExitsWith: .signal(SIGBUS)) {
            MappedRead.prepare()
            MappedRead.begin()
            kill(getpid(), SIGBUS)
            while true { pause() }
        }
    }
}
