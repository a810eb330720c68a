import Glibc
import Logging
import ServiceLifecycle
import World
import WorldLive

/// Gives freed memory back, and the pages of program text that start-up touched and steady work does not.
///
/// A burst of log lines must not leave the agent large. Of 600,000 lines at 100,000 a second the agent kept 69 MiB
/// resident, its peak; with one arena and this, 27 of 40 at the peak, for the same CPU a line (two cores, 9.0 us). Two
/// arenas kept 38: the C library gives back no free end of any arena but the first.
///
/// Most of an idle Swift program's resident memory is text mapped by fault-around, not heap. Private read-and-execute
/// file mappings are clean and unrelocated, so dropping them costs only the faults that bring the hot ones back: some 260
/// after a round of all readers, which touch 9 MiB of it, a third of a millisecond.
struct MemoryTrim: Service {
    let clock: any WorldClock
    static let freedNanoseconds: Int64 = 5_000_000_000
    /// Rounds after which it is looked up anew where text lies: libraries are opened at run time.
    static let roundsPerLook = 120

    func run() async throws {
        await cancelWhenGracefulShutdown {
            var round = 0
            var text: [UnsafeMutableRawBufferPointer] = []
            while !Task.isCancelled {
                do { try await clock.sleep(nanoseconds: Self.freedNanoseconds) } catch { return }
                FreedMemory.giveBack()
                round += 1
                if round <= 3 || round % Self.roundsPerLook == 0 { text = Self.text() }
                // A library that was closed since has no mapping there, which is an error and no harm.
                for part in text { madvise(part.baseAddress, part.count, Int32(MADV_DONTNEED)) }
            }
        }
    }

    /// The mappings of program text, this program's and its libraries'.
    private static func text() -> [UnsafeMutableRawBufferPointer] {
        guard let bytes = try? LiveFileTree().contents("/proc/self/maps") else { return [] }
        var text: [UnsafeMutableRawBufferPointer] = []
        for line in bytes.split(separator: 10) {
            let fields = String(decoding: line, as: UTF8.self).split(separator: " ")
            guard fields.count >= 6, fields[1] == "r-xp", fields[5].hasPrefix("/") else { continue }
            let ends = fields[0].split(separator: "-").compactMap { UInt(String($0), radix: 16) }
            guard ends.count == 2, let start = UnsafeMutableRawPointer(bitPattern: ends[0]) else {
                continue
            }
            text.append(
                UnsafeMutableRawBufferPointer(start: start, count: Int(ends[1] - ends[0])))
        }
        return text
    }
}
