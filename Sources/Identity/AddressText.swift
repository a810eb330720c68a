/// The bytes of an IP address in its usual text form: 4 for IPv4, 16 for IPv6, nil for anything else.
package func addressBytes(_ text: String) -> [UInt8]? {
    text.utf8.contains(58) ? versionSixBytes(text) : versionFourBytes(text)
}

private func versionFourBytes(_ text: some StringProtocol) -> [UInt8]? {
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count == 4 else { return nil }
    var bytes: [UInt8] = []
    for part in parts {
        guard (1...3).contains(part.utf8.count), part.utf8.allSatisfy({ (48...57).contains($0) }),
            let byte = UInt8(part), part.utf8.count == 1 || part.utf8.first != 48
        else { return nil }
        bytes.append(byte)
    }
    return bytes
}

/// Source: RFC 4291 section 2.2 (without zone ids).
private func versionSixBytes(_ text: String) -> [UInt8]? {
    guard text.utf8.count <= 45 else { return nil }
    let halves = text.split(separator: "::", maxSplits: 2, omittingEmptySubsequences: false)
    switch halves.count {
    case 1:
        guard let bytes = groupBytes(halves[0], mayEndInVersionFour: true), bytes.count == 16
        else { return nil }
        return bytes
    case 2:
        guard let head = groupBytes(halves[0], mayEndInVersionFour: false),
            let tail = groupBytes(halves[1], mayEndInVersionFour: true),
            head.count + tail.count <= 14
        else { return nil }
        return head + [UInt8](repeating: 0, count: 16 - head.count - tail.count) + tail
    default: return nil
    }
}

private func groupBytes(_ text: Substring, mayEndInVersionFour: Bool) -> [UInt8]? {
    guard !text.isEmpty else { return [] }
    let groups = text.split(separator: ":", omittingEmptySubsequences: false)
    var bytes: [UInt8] = []
    for (index, group) in groups.enumerated() {
        if mayEndInVersionFour, index == groups.count - 1, let four = versionFourBytes(group) {
            bytes += four
            continue
        }
        let isHexadecimal = { (b: UInt8) in
            (48...57).contains(b) || (97...102).contains(b | 32)
        }
        guard (1...4).contains(group.utf8.count), group.utf8.allSatisfy(isHexadecimal),
            let value = UInt16(group, radix: 16)
        else { return nil }
        bytes += [UInt8(value >> 8), UInt8(value & 255)]
    }
    return bytes
}
