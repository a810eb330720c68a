internal import CMalloc

/// What the C library does with memory that a program frees.
///
/// By itself it keeps it, in up to eight arenas a core, and raises the size from which blocks are mapped alone with the
/// blocks that are freed: a program stays as large as it once was.
package enum FreedMemory {
    /// Arenas of this process at most.
    package static let arenasMax: Int32 = 2
    /// Blocks from here on are mapped by themselves and given back when they are freed, bytes.
    package static let mappedBytesMin: Int32 = 512 << 10

    /// Bounds what is kept; call it before other threads allocate.
    package static func prepare() {
        mallopt(M_ARENA_MAX, arenasMax)
        mallopt(M_MMAP_THRESHOLD, mappedBytesMin)
    }

    /// Bounds what is kept where few threads allocate at a time, and memory comes and goes in bursts; call it before
    /// other threads allocate. The size from which blocks are mapped alone still adapts itself: fixed at 512 KiB it
    /// cost the agent a third more CPU a line (12.5 us, not 9.0). `giveBack` returns what is kept.
    package static func prepareOneArena() { mallopt(M_ARENA_MAX, 1) }

    /// Gives whole pages that are free back to the system. Takes milliseconds in a program of some hundred megabytes.
    package static func giveBack() { malloc_trim(0) }

    /// Unmaps the pages of program text; those that are needed come back from the page cache by themselves. Some 260 faults
    /// after a round of the agent's readers: a third of a millisecond.
    package static func giveTextBack() { petrel_give_text_back() }
}
