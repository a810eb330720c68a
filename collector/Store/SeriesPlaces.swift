import ChunkCodec
import Model

/// Where a series' samples go: up to 32 neighbours of one sender share their chunks.
package struct SeriesPlace: Hashable, Sendable {
    package var group: Int32
    /// 0 … 31.
    package var slot: Int16

    package init(group: Int32, slot: Int16) {
        self.group = group
        self.slot = slot
    }
}

/// Gives series their places: those of one host, job and instance share groups, in the order in which they come, for they
/// are scraped at the same times. A place is given once; one whose series was not stored after all stays empty.
struct SeriesPlaces: Sendable {
    private struct Target: Hashable {
        /// -1: several hosts.
        var host: Int32
        var job: ExactText
        var instance: ExactText

        init(_ labels: Labels, host: Int32?) {
            self.host = host ?? -1
            job = ExactText(labels["job"])
            instance = ExactText(labels["instance"])
        }
    }

    /// By series number; nil where the number is unused.
    private var places: [SeriesPlace?] = []
    /// The newest group of each target, and how many of its slots are taken.
    private var newest: [Target: (group: Int32, used: Int16)] = [:]
    private var nextGroup: Int32 = 0

    subscript(number: Int32) -> SeriesPlace? {
        let index = Int(number)
        return places.indices.contains(index) ? places[index] : nil
    }

    /// A place for a new series that `host` sends.
    mutating func reserve(_ labels: Labels, host: Int32) -> SeriesPlace {
        let target = Target(labels, host: host)
        if let (group, used) = newest[target], used < Chunk.slotsMax {
            newest[target] = (group, used + 1)
            return SeriesPlace(group: group, slot: used)
        }
        let group = nextGroup
        nextGroup += 1
        newest[target] = (group, 1)
        return SeriesPlace(group: group, slot: 0)
    }

    /// Takes in a series that the database has.
    mutating func insert(_ number: Int32, _ labels: Labels, host: Int32?, at place: SeriesPlace) {
        let index = Int(number)
        if index >= places.count {
            places.append(contentsOf: repeatElement(nil, count: index + 1 - places.count))
        }
        places[index] = place
        nextGroup = max(nextGroup, place.group + 1)
        let target = Target(labels, host: host)
        let known = newest[target]
        if let known, known.group > place.group { return }
        let used = known?.group == place.group ? known?.used ?? 0 : 0
        newest[target] = (place.group, max(used, place.slot + 1))
    }
}
