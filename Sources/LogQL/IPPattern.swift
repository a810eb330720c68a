/// `ip("…")`: one address, a range `from-to`, or a CIDR, of IPv4 or IPv6.
struct IPPattern: Sendable {
    private enum Kind {
        case range(from: IPAddress, to: IPAddress)
        /// An address with a zone, which no text has.
        case nothing
    }

    private let kind: Kind

    /// Source: Go 1.24 `netip.ParseAddr`, `netip.ParsePrefix`, `netipx.ParseIPRange`.
    init(_ text: String) throws(StageFault) {
        let bytes = Array(text.utf8)
        guard let kind = Self.parse(bytes) else {
            throw StageFault("ip: invalid pattern: \(goQuoted(text))")
        }
        self.kind = kind
    }

    private static func parse(_ bytes: [UInt8]) -> Kind? {
        if let address = IPAddress(bytes[...]) { return .range(from: address, to: address) }
        if let percent = bytes.firstIndex(of: UInt8(ascii: "%")), percent + 1 < bytes.count,
            let address = IPAddress(bytes[..<percent]), !address.isV4
        {
            return .nothing
        }
        if let slash = bytes.firstIndex(of: UInt8(ascii: "/")) {
            let digits = bytes[(slash + 1)...]
            guard let address = IPAddress(bytes[..<slash]), (1...3).contains(digits.count),
                digits.allSatisfy({ (48...57).contains($0) }),
                digits.count == 1 || digits.first != 48,
                let length = Int(String(decoding: digits, as: UTF8.self)),
                length <= (address.isV4 ? 32 : 128)
            else { return nil }
            let (from, to) = address.network(length)
            return .range(from: from, to: to)
        }
        if let dash = bytes.firstIndex(of: UInt8(ascii: "-")) {
            guard let from = IPAddress(bytes[..<dash]), let to = IPAddress(bytes[(dash + 1)...]),
                from.isV4 == to.isV4, from <= to
            else { return nil }
            return .range(from: from, to: to)
        }
        return nil
    }

    /// Whether one of the addresses in `text` belongs to the pattern. What may be an address begins as one does: a
    /// digit and a dot among the next three bytes, or up to four hexadecimal digits and a colon. Source: Loki 3.6
    /// `ipFilter`.
    func isFound(in text: UnsafeBufferPointer<UInt8>) -> Bool {
        var at = 0
        let count = text.count
        while at < count {
            let isV4 = at + 3 < count && Self.beginsV4(text, at)
            guard isV4 || Self.beginsV6(text, at) else {
                at += 1
                continue
            }
            var end = at
            while end < count, Self.isOfAddress(text[end], isV4: isV4) { end += 1 }
            if end > at, let address = IPAddress(text[at..<end]), contains(address) {
                return true
            }
            at = end + 1
        }
        return false
    }

    private func contains(_ address: IPAddress) -> Bool {
        switch kind {
        case .range(let from, let to):
            address.isV4 == from.isV4 && from <= address && address <= to
        case .nothing: false
        }
    }

    private typealias Slice = UnsafeBufferPointer<UInt8>

    private static func beginsV4(_ text: Slice, _ at: Int) -> Bool {
        let dot = UInt8(ascii: ".")
        return (48...57).contains(text[at])
            && (text[at + 1] == dot || text[at + 2] == dot || text[at + 3] == dot)
    }

    private static func beginsV6(_ text: Slice, _ at: Int) -> Bool {
        let colon = UInt8(ascii: ":")
        let count = text.count - at
        if text[at] == colon {
            return count > 2 && text[at + 1] == colon && isHexadecimal(text[at + 2])
        }
        var digits = 0
        while digits < min(4, count), isHexadecimal(text[at + digits]) { digits += 1 }
        return digits > 0 && digits < count && text[at + digits] == colon
    }

    private static func isOfAddress(_ byte: UInt8, isV4: Bool) -> Bool {
        if byte == UInt8(ascii: ".") { return true }
        return isV4 ? (48...57).contains(byte) : isHexadecimal(byte) || byte == UInt8(ascii: ":")
    }
}

private func isHexadecimal(_ byte: UInt8) -> Bool {
    (48...57).contains(byte) || (97...102).contains(byte | 0x20)
}

/// An address of IPv4 or IPv6, without a zone.
struct IPAddress: Hashable, Comparable, Sendable {
    let isV4: Bool
    let high: UInt64
    let low: UInt64

    private init(isV4: Bool, high: UInt64, low: UInt64) {
        self.isV4 = isV4
        self.high = high
        self.low = low
    }

    /// Nil for a text that is none.
    init?<Bytes: RandomAccessCollection<UInt8>>(_ bytes: Bytes) {
        guard bytes.count <= 45 else { return nil }
        if bytes.contains(UInt8(ascii: ":")) {
            guard let groups = Self.groups(bytes) else { return nil }
            isV4 = false
            high = groups[..<4].reduce(0) { $0 << 16 | UInt64($1) }
            low = groups[4...].reduce(0) { $0 << 16 | UInt64($1) }
        } else {
            guard let value = Self.dotted(bytes) else { return nil }
            isV4 = true
            high = 0
            low = UInt64(value)
        }
    }

    static func < (a: Self, b: Self) -> Bool {
        a.high != b.high ? a.high < b.high : a.low < b.low
    }

    /// The first and the last address of the network of the first `length` bits.
    func network(_ length: Int) -> (Self, Self) {
        let bits = isV4 ? length + 96 : length
        let highMask: UInt64 = bits >= 64 ? .max : bits == 0 ? 0 : .max << UInt64(64 - bits)
        let lowMask: UInt64 =
            bits >= 128 ? .max : bits <= 64 ? 0 : .max << UInt64(128 - bits)
        let lowEnd = isV4 ? low | (~lowMask & 0xffff_ffff) : low | ~lowMask
        return (
            Self(isV4: isV4, high: isV4 ? 0 : high & highMask, low: low & lowMask),
            Self(isV4: isV4, high: isV4 ? 0 : high | ~highMask, low: lowEnd)
        )
    }

    /// Four numbers up to 255, none with a leading zero.
    private static func dotted<Bytes: Collection<UInt8>>(_ bytes: Bytes) -> UInt32? {
        var value: UInt32 = 0
        var number: UInt32 = 0
        var (digits, dots) = (0, 0)
        for byte in bytes {
            if byte == UInt8(ascii: ".") {
                guard digits > 0, dots < 3 else { return nil }
                value = value << 8 | number
                (number, digits) = (0, 0)
                dots += 1
            } else {
                guard (48...57).contains(byte), digits == 0 || number > 0 else { return nil }
                number = number * 10 + UInt32(byte - 48)
                guard number <= 255 else { return nil }
                digits += 1
            }
        }
        return dots == 3 && digits > 0 ? value << 8 | number : nil
    }

    /// Eight groups; `::` stands for one zero group or more, and the last two may be dotted.
    private static func groups<Bytes: RandomAccessCollection<UInt8>>(
        _ bytes: Bytes
    ) -> [UInt16]? {
        let text = Array(bytes)
        let colon = UInt8(ascii: ":")
        var groups: [UInt16] = []
        var gap: Int?
        var at = 0
        if text.count >= 2, text[0] == colon, text[1] == colon {
            gap = 0
            at = 2
        }
        while at < text.count {
            guard groups.count < 8 else { return nil }
            var end = at
            while end < text.count, isHexadecimal(text[end]) { end += 1 }
            if end < text.count, text[end] == UInt8(ascii: ".") {
                guard groups.count <= 6, let value = dotted(text[at...]) else { return nil }
                groups += [UInt16(value >> 16), UInt16(value & 0xffff)]
                at = text.count
                break
            }
            guard (1...4).contains(end - at),
                let group = UInt16(String(decoding: text[at..<end], as: UTF8.self), radix: 16)
            else { return nil }
            groups.append(group)
            at = end
            if at == text.count { break }
            guard text[at] == colon, at + 1 < text.count else { return nil }
            at += 1
            if text[at] == colon {
                guard gap == nil else { return nil }
                gap = groups.count
                at += 1
            }
        }
        guard let gap else { return groups.count == 8 ? groups : nil }
        guard groups.count < 8 else { return nil }
        groups.insert(contentsOf: [UInt16](repeating: 0, count: 8 - groups.count), at: gap)
        return groups
    }
}
