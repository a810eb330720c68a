/// The members of a JSON or logfmt line by name, for those who ask for any of them. Built once a line; asking for a nested
/// one reads the object that it is in.
struct LineIndex {
    /// Members beyond these are not found.
    static let membersMax = 256

    private var line: [UInt8] = []
    private var members: [LineMember] = []

    init() {}

    /// Reads the members of `newLine`, at most its first `FieldExtractor.lineBytesMax` bytes. O(n).
    mutating func read(_ newLine: [UInt8]) {
        line = newLine
        members.removeAll(keepingCapacity: true)
        let end = min(line.count, FieldExtractor.lineBytesMax)
        let start = LineText.start(line, to: end)
        guard start < end else { return }
        if line[start] == UInt8(ascii: "{") {
            var walk = ObjectMembers(line, from: start, to: end)
            while members.count < Self.membersMax, let member = walk.next() {
                members.append(member)
            }
        } else {
            var walk = PairMembers(line, from: start, to: end)
            while members.count < Self.membersMax, let member = walk.next() {
                members.append(member)
            }
        }
    }

    /// Lets the line go.
    mutating func removeAll() {
        line = []
        members.removeAll(keepingCapacity: true)
    }

    /// The member that `path` leads to: a name as the line has it, or names of objects in objects. O(n) in the objects on
    /// the way.
    func member(_ path: FieldPath) -> LineMember? {
        if let member = members.first(where: { equals($0.key, path.whole) }) { return member }
        guard path.parts.count > 1,
            var found = members.first(where: { equals($0.key, path.parts[0]) })
        else { return nil }
        for part in path.parts.dropFirst() {
            guard found.kind == .object else { return nil }
            var walk = ObjectMembers(line, from: found.value.lowerBound, to: found.value.upperBound)
            var next: LineMember?
            while next == nil, let member = walk.next() {
                if equals(member.key, part) { next = member }
            }
            guard let next else { return nil }
            found = next
        }
        return found
    }

    /// The elements of the array that `path` leads to, at most `max`.
    func elements(_ path: FieldPath, max: Int) -> [LineMember] {
        guard let array = member(path), array.kind == .array else { return [] }
        return ObjectMembers.elements(line, ofArray: array.value, max: max)
    }

    /// The text of the member `name` of an object of this line.
    func text(of object: LineMember, _ name: StaticString) -> String? {
        KnownLine.member(line, of: object, name).flatMap { LineText.text(line, $0) }
    }

    /// The text that `path` leads to, of an array its first text; nil for none, for objects, null and texts too long to be
    /// lifted.
    func text(_ path: FieldPath) -> String? {
        guard let member = member(path).flatMap(first) else { return nil }
        if member.kind == .bare, LineText.equals(line, member.value, "null") { return nil }
        return LineText.text(line, member)
    }

    private func first(_ member: LineMember) -> LineMember? {
        guard member.kind == .array else { return member }
        guard let element = ObjectMembers.firstText(line, ofArray: member.value) else { return nil }
        return LineMember(key: member.key, value: element, kind: .text)
    }

    private func equals(_ range: Range<Int>, _ bytes: [UInt8]) -> Bool {
        guard range.count == bytes.count else { return false }
        for (offset, byte) in bytes.enumerated() where line[range.lowerBound + offset] != byte {
            return false
        }
        return true
    }
}

/// A member's name, with dots between those of objects in objects.
struct FieldPath: Hashable, Sendable {
    let whole: [UInt8]
    let parts: [[UInt8]]

    init(_ text: String) {
        whole = Array(text.utf8)
        parts = whole.split(separator: UInt8(ascii: ".")).map(Array.init)
    }
}
