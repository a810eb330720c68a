import Model
import Testing

@Suite("Labels")
struct LabelsTests {
    /// Pairs that Swift takes for equal: composed and not, and marks in another order.
    static let spellings = [
        ("caf\u{e9}", "cafe\u{301}"), ("q\u{307}\u{323}", "q\u{323}\u{307}"),
        ("\u{212b}ngstr\u{f6}m and more text", "\u{c5}ngstr\u{f6}m and more text"),
    ]

    @Test("texts that differ in their bytes alone are different labels", arguments: spellings)
    func spelled(_ a: String, _ b: String) {
        #expect(a == b && !a.utf8.elementsEqual(b.utf8))
        #expect(ExactText(a) != ExactText(b) && ExactText(a) == ExactText(String(a)))
        #expect(Set([ExactText(a), ExactText(b), ExactText(a)]).count == 2)
        #expect(Label("n", a) != Label("n", b) && Label(a, "v") != Label(b, "v"))
        #expect(Set([Label("n", a), Label("n", b), Label(a, "v"), Label(b, "v")]).count == 4)
        #expect((Label("n", a) < Label("n", b)) != (Label("n", b) < Label("n", a)))
        let sets = [Labels([Label("n", a)]), Labels([Label("n", b)])]
        #expect(sets[0] != sets[1] && Set(sets).count == 2)
        #expect((sets[0] < sets[1]) != (sets[1] < sets[0]))
        let both = Labels([Label(a, "1"), Label(b, "2")])
        #expect(both.count == 2 && both[a] == "1" && both[b] == "2")
        #expect(both.setting(a, "")[b] == "2" && both.setting(a, "")[a] == "")
    }

    @Test("equality is that of bytes, at every length and place")
    func lengths() {
        let text = "abcdefghijklmnopqrstuvwxyz0123456789"
        for count in 0...text.utf8.count {
            // Made apart, so that they share no storage.
            let bytes = Array(text.utf8.prefix(count))
            let (a, b) = (String(decoding: bytes, as: UTF8.self), String(text.prefix(count)))
            #expect(bytesEqual(a, b) && ExactText(a).hashValue == ExactText(b).hashValue)
            for place in 0..<count {
                var changed = bytes
                changed[place] ^= 1
                #expect(!bytesEqual(a, String(decoding: changed, as: UTF8.self)))
            }
            #expect(!bytesEqual(a, a + "x") && !bytesEqual(a + "x", a))
        }
        #expect(Label("ab", "c") != Label("a", "bc"))
    }

    @Test("order is that of bytes, at every length and place")
    func order() {
        let ends = ["", "a", "b", "\u{7f}", "\u{e9}", "e\u{301}", "\u{ffff}", "\u{10ffff}"]
        var texts: [String] = []
        for count in 0...17 {
            let start = String(repeating: "k", count: count)
            for end in ends { texts += [start + end, start + end + "zzzzzzzzz"] }
        }
        for a in texts {
            for b in texts {
                let wanted = a.utf8.lexicographicallyPrecedes(b.utf8)
                #expect(bytesPrecede(a, b) == wanted)
                #expect((Label(a, "1") < Label(b, "1")) == wanted)
                let (left, right): (Labels, Labels) = (["n": a, "x": "1"], ["n": b, "x": "1"])
                // An empty value is no label: the next one is compared with it.
                if !a.isEmpty && !b.isEmpty { #expect((left < right) == wanted) }
            }
        }
        let few: Labels = ["a": "1"]
        let more: Labels = ["a": "1", "b": "1"]
        #expect(few < more && !(more < few) && !(few < few))
    }

    @Test("a set of labels in any order: the last of equal names counts, empty ones do not exist")
    func made() {
        let labels = Labels([
            Label("z", "1"), Label("a", "2"), Label("m", "3"), Label("a", "4"), Label("z", ""),
            Label("b", ""), Label("b", "5"),
        ])
        #expect(Array(labels) == [Label("a", "4"), Label("b", "5"), Label("m", "3")])
        #expect(labels == ["m": "3", "b": "5", "a": "4"])
        #expect(Labels([Label]()) == .empty)
    }
}
