import Glibc
import Logging
import ServiceLifecycle
import World
import WorldLive

/// Gives back the pages of program text that start-up touched and steady work does not.
///
/// Most of a Swift program's resident memory is text mapped by fault-around, not heap. Private read-and-execute file
/// mappings are clean and unrelocated, so dropping them costs only the faults that bring the hot ones back.
struct MemoryTrim: Service {
    let clock: any WorldClock
    static let firstNanoseconds: Int64 = 10_000_000_000
    static let intervalNanoseconds: Int64 = 300_000_000_000

    func run() async throws {
        await cancelWhenGracefulShutdown {
            var wait = Self.firstNanoseconds
            while !Task.isCancelled {
                do { try await clock.sleep(nanoseconds: wait) } catch { return }
                Self.trim()
                wait = Self.intervalNanoseconds
            }
        }
    }

    static func trim() {
        guard let bytes = try? LiveFileTree().contents("/proc/self/maps") else { return }
        for line in bytes.split(separator: 10) {
            let fields = String(decoding: line, as: UTF8.self).split(separator: " ")
            guard fields.count >= 6, fields[1] == "r-xp", fields[5].hasPrefix("/") else { continue }
            let ends = fields[0].split(separator: "-").compactMap { UInt(String($0), radix: 16) }
            guard ends.count == 2, let start = UnsafeMutableRawPointer(bitPattern: ends[0]) else {
                continue
            }
            madvise(start, Int(ends[1] - ends[0]), Int32(MADV_DONTNEED))
        }
    }
}
