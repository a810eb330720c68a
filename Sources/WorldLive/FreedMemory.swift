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

    /// Gives whole pages that are free back to the system. Takes milliseconds in a program of some hundred megabytes.
    package static func giveBack() { malloc_trim(0) }
}
