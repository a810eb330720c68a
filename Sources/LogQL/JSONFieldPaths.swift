/// Where in a JSON line the labels come from that `json` makes of it.
package enum JSONFieldPaths {
    /// The path of each text, number and boolean by the label's name: `request_uri` stands for `["request", "uri"]`.
    /// Of two fields with one name the first counts; empty where the line is no JSON object. O(bytes).
    package static func paths(of line: [UInt8]) -> [String: [String]] {
        var found: [String: [String]] = [:]
        line.withUnsafeBufferPointer { text in
            // What comes before a fault has its labels.
            try? add(text, at: 0, [], name: [], to: &found)
        }
        return found
    }

    private static func add(
        _ text: JSONSpan, at start: Int, _ path: [String], name prefix: [UInt8],
        to found: inout [String: [String]]
    ) throws(JSONFault) {
        guard path.count < JSONBytes.depthMax else { throw .tooDeep }
        var members = try JSONBytes.Members(text, at: start)
        while let member = try members.next() {
            var key: [UInt8] = []
            if member.isNameEscaped {
                guard JSONBytes.appendUnescaped(text, member.name, to: &key) else { throw .escape }
            } else {
                key.append(contentsOf: text[member.name])
            }
            var name = prefix
            key.withUnsafeBufferPointer { appendSanitized($0, to: &name) }
            let whole = path + [String(decoding: key, as: UTF8.self)]
            switch member.value.kind {
            case .string, .number, .boolean:
                let label = String(decoding: name, as: UTF8.self)
                if found[label] == nil { found[label] = whole }
            case .object:
                try add(text, at: member.value.range.lowerBound, whole, name: name, to: &found)
            case .null, .array, .unknown: break
            }
        }
    }
}
