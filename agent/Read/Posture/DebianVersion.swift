/// The order of Debian's package versions, `[epoch:]upstream[-revision]`.
///
/// Numbers compare by value and what is between them by letters before other characters, `~` before everything,
/// even the end. Source: Debian Policy 5.6.12; deb-version(7).
package enum DebianVersion {
    /// Below 0 where `a` is older than `b`, 0 where they are equal, above 0 where it is newer. Takes any bytes. O(n).
    package static func compare(_ a: String, _ b: String) -> Int {
        let (left, right) = (parts(Array(a.utf8)[...]), parts(Array(b.utf8)[...]))
        var order = compareNumbers(left.epoch, right.epoch)
        if order == 0 { order = comparePart(left.upstream, right.upstream) }
        return order == 0 ? comparePart(left.revision, right.revision) : order
    }

    private typealias Text = ArraySlice<UInt8>

    /// The epoch ends at the first colon, the revision begins behind the last hyphen.
    private static func parts(_ text: Text) -> (epoch: Text, upstream: Text, revision: Text) {
        var (epoch, rest) = (text.prefix(0), text)
        if let colon = text.firstIndex(of: UInt8(ascii: ":")) {
            (epoch, rest) = (text[..<colon], text[(colon + 1)...])
        }
        guard let hyphen = rest.lastIndex(of: UInt8(ascii: "-")) else {
            return (epoch, rest, rest.suffix(0))
        }
        return (epoch, rest[..<hyphen], rest[(hyphen + 1)...])
    }

    private static func comparePart(_ a: Text, _ b: Text) -> Int {
        var (a, b) = (a, b)
        while !a.isEmpty || !b.isEmpty {
            while isText(a.first) || isText(b.first) {
                let (left, right) = (weight(a.first), weight(b.first))
                guard left == right else { return left < right ? -1 : 1 }
                // Equal weights are equal characters: both have one.
                a.removeFirst()
                b.removeFirst()
            }
            let (left, right) = (a.prefix(while: isDigit), b.prefix(while: isDigit))
            let order = compareNumbers(left, right)
            guard order == 0 else { return order }
            a.removeFirst(left.count)
            b.removeFirst(right.count)
        }
        return 0
    }

    /// Digits of any length by value; none are 0.
    private static func compareNumbers(_ a: Text, _ b: Text) -> Int {
        let (a, b) = (a.drop { $0 == 48 }, b.drop { $0 == 48 })
        guard a.count == b.count else { return a.count < b.count ? -1 : 1 }
        for (left, right) in zip(a, b) where left != right { return left < right ? -1 : 1 }
        return 0
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (48...57).contains(byte) }

    private static func isText(_ byte: UInt8?) -> Bool { byte.map { !isDigit($0) } ?? false }

    /// A digit weighs as the end does.
    private static func weight(_ byte: UInt8?) -> Int {
        guard let byte, !isDigit(byte) else { return 0 }
        switch byte {
        case UInt8(ascii: "~"): return -1
        case 65...90, 97...122: return Int(byte)
        default: return Int(byte) + 256
        }
    }
}
