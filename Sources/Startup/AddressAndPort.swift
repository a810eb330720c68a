/// `127.0.0.1:9100`, `[::1]:9600`: where to listen or to connect to.
package struct AddressAndPort: Hashable, Sendable, CustomStringConvertible {
    /// Without brackets; never empty.
    package var address: String
    /// 0 to 65,535; 0 lets the system choose.
    package var port: Int

    package init(address: String, port: Int) {
        self.address = address
        self.port = port
    }

    /// Nil where `text` is not ADDRESS:PORT.
    package init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":"),
            let port = Int(text[text.index(after: colon)...]), (0...65_535).contains(port)
        else { return nil }
        var host = String(text[..<colon])
        if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
        guard !host.isEmpty else { return nil }
        address = host
        self.port = port
    }

    package var description: String {
        address.contains(":") ? "[\(address)]:\(port)" : "\(address):\(port)"
    }
}
