/// Which series have samples on which days. It may say too much, never too little: a day is noted before a sample is
/// visible, and what a deletion leaves of a day's samples isn't looked at.
struct SeriesDays: Sendable {
    /// A day of a retention class; days count from the Unix epoch.
    struct Key: Hashable, Comparable, Sendable {
        var retentionClass: Int16
        var day: Int32

        static func < (a: Self, b: Self) -> Bool {
            (a.retentionClass, a.day) < (b.retentionClass, b.day)
        }
    }

    /// Days of which it is remembered what the database knows; of others everything is written again.
    private static let writtenMax = 32

    private(set) var sets: [Key: NumberSet] = [:]
    /// What the database has of the newest days.
    private var written: [Key: NumberSet] = [:]

    mutating func insert(_ number: Int32, _ key: Key) {
        sets[key, default: NumberSet()].insert(number)
    }

    /// The series of a range of days, of whatever class.
    func union(_ days: ClosedRange<Int32>) -> NumberSet {
        var result = NumberSet()
        for (key, set) in sets where days.contains(key.day) { result.formUnion(set) }
        return result
    }

    /// Every series that has a sample.
    var all: NumberSet { union(.min ... .max) }

    /// Takes in what the database knows; its days are shared where they are equal.
    mutating func load(_ set: NumberSet, _ key: Key) {
        var joined = set
        joined.formUnion(sets[key] ?? NumberSet())
        if let before = sets[Key(retentionClass: key.retentionClass, day: key.day - 1)] {
            joined.share(before)
        }
        sets[key] = joined
        var known = written[key] ?? NumberSet()
        known.formUnion(set)
        noteWritten(known, key)
    }

    /// What of `found`, days of chunks that are about to be written, the database does not know yet.
    func unwritten(_ found: [Key: NumberSet]) -> [Key: NumberSet] {
        var result: [Key: NumberSet] = [:]
        for (key, set) in found {
            var rest = set
            if let known = written[key] { rest.subtract(known) }
            if !rest.isEmpty { result[key] = rest }
        }
        return result
    }

    /// The database knows these days now.
    mutating func noteWritten(_ new: [Key: NumberSet]) {
        for (key, set) in new {
            var known = written[key] ?? NumberSet()
            known.formUnion(set)
            noteWritten(known, key)
            sets[key, default: NumberSet()].formUnion(set)
        }
    }

    private mutating func noteWritten(_ set: NumberSet, _ key: Key) {
        written[key] = set
        while written.count > Self.writtenMax,
            let oldest = written.keys.min(by: { $0.day < $1.day })
        {
            written[oldest] = nil
        }
    }

    /// A day was dropped.
    mutating func drop(_ key: Key) {
        sets[key] = nil
        written[key] = nil
    }

    /// What the rows of that day say of these series is overruled by a deletion: their samples are to be written anew.
    mutating func forgetWritten(_ gone: NumberSet, _ key: Key) { written[key]?.subtract(gone) }

    /// What these series had on that day was deleted; the rows of the database that say otherwise are older.
    mutating func subtract(_ gone: NumberSet, _ key: Key) {
        sets[key]?.subtract(gone)
        if sets[key]?.isEmpty == true { sets[key] = nil }
        // A sample that comes after the deletion is written anew, with a seal that is past it.
        written[key]?.subtract(gone)
    }
}
