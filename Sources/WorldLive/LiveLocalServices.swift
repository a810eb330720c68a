import Glibc
package import World

/// HTTP/1.0 over a plain socket to this machine's loopback address.
package struct LiveLocalServices: LocalServices {
    private let seconds: Int

    /// A call takes at most `seconds` until it is connected, and so long again for the answer.
    package init(seconds: Int = 2) { self.seconds = seconds }

    package func get(address: String, port: Int, path: String) -> LocalAnswer? {
        guard (1...65_535).contains(port) else { return nil }
        let isVersion6 = address.contains(":")
        guard let number = make(isVersion6 ? AF_INET6 : AF_INET) else { return nil }
        defer { close(number) }
        guard connect(number, to: address, port: port, isVersion6: isVersion6) else { return nil }
        return ask(number, path, host: "localhost:\(port)")
    }

    /// `GET path` on the Unix socket `socket`; nil where what answers is no HTTP, or nothing in time. Throws `connect`
    /// with the system's errno (2, 111: nobody is there; 13: this user may not ask), 36 for a path that is too long.
    package func get(socket: String, path: String) throws(FileError) -> LocalAnswer? {
        var place = sockaddr_un()
        place.sun_family = sa_family_t(AF_UNIX)
        let isFitting = withUnsafeMutableBytes(of: &place.sun_path) { room in
            guard socket.utf8.count < room.count else { return false }
            room.copyBytes(from: socket.utf8)
            return true
        }
        guard isFitting, let number = make(AF_UNIX) else {
            throw FileError(operation: "connect", path: socket, errno: isFitting ? errno : 36)
        }
        defer { close(number) }
        guard connect(number, &place) else {
            throw FileError(operation: "connect", path: socket, errno: errno)
        }
        return ask(number, path, host: "localhost")
    }

    private func make(_ family: Int32) -> Int32? {
        let number = socket(family, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0)
        guard number >= 0 else { return nil }
        var wait = timeval(tv_sec: seconds, tv_usec: 0)
        for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
            setsockopt(
                number, SOL_SOCKET, option, &wait, socklen_t(MemoryLayout<timeval>.size))
        }
        return number
    }

    private func ask(_ number: Int32, _ path: String, host: String) -> LocalAnswer? {
        let request = Array(
            "GET \(path) HTTP/1.0\r\nHost: \(host)\r\nConnection: close\r\n\r\n".utf8)
        guard send(number, request, request.count, Int32(MSG_NOSIGNAL)) == request.count
        else { return nil }
        return answer(read(number))
    }

    private func connect(
        _ number: Int32, to address: String, port: Int, isVersion6: Bool
    ) -> Bool {
        if isVersion6 {
            var place = sockaddr_in6()
            place.sin6_family = sa_family_t(AF_INET6)
            place.sin6_port = UInt16(port).bigEndian
            guard inet_pton(AF_INET6, address, &place.sin6_addr) == 1 else { return false }
            return connect(number, &place)
        }
        var place = sockaddr_in()
        place.sin_family = sa_family_t(AF_INET)
        place.sin_port = UInt16(port).bigEndian
        guard inet_pton(AF_INET, address, &place.sin_addr) == 1 else { return false }
        return connect(number, &place)
    }

    private func connect<Place>(_ number: Int32, _ place: inout Place) -> Bool {
        withUnsafePointer(to: &place) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(number, $0, socklen_t(MemoryLayout<Place>.size)) == 0
            }
        }
    }

    private func read(_ number: Int32) -> [UInt8] {
        let end = LiveClock().monotonicNanoseconds + Int64(seconds) * 1_000_000_000
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 16 * 1024)
        while bytes.count < Self.bodyBytesMax, LiveClock().monotonicNanoseconds < end {
            let got = chunk.withUnsafeMutableBytes { recv(number, $0.baseAddress, $0.count, 0) }
            if got < 0, errno == EINTR { continue }
            guard got > 0 else { break }
            bytes += chunk[..<got]
        }
        return bytes
    }

    private func answer(_ bytes: [UInt8]) -> LocalAnswer? {
        let text = String(decoding: bytes, as: UTF8.self)
        let words = text.prefix { !$0.isNewline }.split(separator: " ")
        guard words.count >= 2, words[0].hasPrefix("HTTP/1."), let status = Int(words[1]) else {
            return nil
        }
        let body = text.firstRange(of: "\r\n\r\n").map { String(text[$0.upperBound...]) }
        return LocalAnswer(status: status, body: body ?? "")
    }
}
