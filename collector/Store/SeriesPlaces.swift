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

/// Gives series their places: those of one host, job, instance and retention class share groups, in the order in which
/// they come, for they are scraped at the same times. A place is given once; one whose series was not stored after all
/// stays empty.
struct SeriesPlaces: Sendable {
    private struct Target: Hashable {
        /// -1: several hosts.
        var host: Int32
        var retentionClass: Int16
        var job: ExactText
        var instance: ExactText

        init(_ labels: Labels, host: Int32?, _ retentionClass: Int16) {
            self.host = host ?? -1
            self.retentionClass = retentionClass
            job = ExactText(labels["job"])
            instance = ExactText(labels["instance"])
        }
    }

    /// By series number.
    private var places = NumberTable<SeriesPlace>()
    /// By group, and then by slot: the number, or -1.
    private var members = NumberTable<[Int32]>()
    /// The newest group of each target, and how many of its slots are taken.
    private var newest: [Target: (group: Int32, used: Int16)] = [:]
    private var nextGroup: Int32 = 0
    /// The highest group that has series in the database.
    private var lastKnownGroup: Int32 = -1
    /// Of groups of another retention class than 0.
    private var classes: [Int32: Int16] = [:]

    subscript(number: Int32) -> SeriesPlace? { places[number] }

    /// A place for a new series that `host` sends.
    mutating func reserve(
        _ labels: Labels, host: Int32, _ retentionClass: Int16
    ) -> SeriesPlace {
        let target = Target(labels, host: host, retentionClass)
        if let (group, used) = newest[target], used < Chunk.slotsMax {
            newest[target] = (group, used + 1)
            return SeriesPlace(group: group, slot: used)
        }
        let group = nextGroup
        nextGroup += 1
        newest[target] = (group, 1)
        return SeriesPlace(group: group, slot: 0)
    }

    /// Gives up groups that were reserved and have no series yet: another collector may have taken one for another target,
    /// and a group is of one target and one class.
    mutating func abandonReservedGroups() {
        newest = newest.filter { $0.value.group <= lastKnownGroup }
    }

    /// Groups up to `last` were given, whether series of theirs are left or not.
    mutating func startGroups(after last: Int32) { nextGroup = max(nextGroup, last + 1) }

    /// Forgets series; their places stay empty.
    mutating func remove(_ gone: Set<Int32>) {
        var empty: Set<Int32> = []
        for number in gone {
            guard let place = places[number] else { continue }
            places[number] = nil
            members.change(place.group) { numbers in
                numbers[Int(place.slot)] = -1
                if numbers.allSatisfy({ $0 < 0 }) { empty.insert(place.group) }
            }
        }
        guard !empty.isEmpty else { return }
        for group in empty {
            members[group] = nil
            classes[group] = nil
        }
        newest = newest.filter { !empty.contains($0.value.group) }
    }

    /// Every series with its place.
    var all: [(number: Int32, place: SeriesPlace)] {
        var all: [(number: Int32, place: SeriesPlace)] = []
        places.visit { all.append(($0, $1)) }
        return all
    }

    /// The series of the slots of a group that `slots` has bits for.
    func numbers(in group: Int32, slots: UInt32) -> [Int32] {
        (members[group] ?? []).enumerated().compactMap { slot, number in
            number >= 0 && slots & 1 << UInt32(slot) != 0 ? number : nil
        }
    }

    /// The retention class of a group's series.
    func retentionClass(of group: Int32) -> Int16 { classes[group] ?? 0 }

    /// Takes in a series that the database has.
    mutating func insert(
        _ number: Int32, _ labels: Labels, host: Int32?, _ retentionClass: Int16,
        at place: SeriesPlace
    ) {
        if retentionClass != 0 { classes[place.group] = retentionClass }
        places[number] = place
        if members[place.group] == nil { members[place.group] = [] }
        members.change(place.group) { numbers in
            while numbers.count <= Int(place.slot) { numbers.append(-1) }
            numbers[Int(place.slot)] = number
        }
        nextGroup = max(nextGroup, place.group + 1)
        lastKnownGroup = max(lastKnownGroup, place.group)
        let target = Target(labels, host: host, retentionClass)
        let known = newest[target]
        if let known, known.group > place.group { return }
        let used = known?.group == place.group ? known?.used ?? 0 : 0
        newest[target] = (place.group, max(used, place.slot + 1))
    }
}
