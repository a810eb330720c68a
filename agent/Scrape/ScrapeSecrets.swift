import Exposition
import NIOSSL
import World

/// Secrets and certificates from their files. Both block.
enum ScrapeSecrets {
    /// The value of the Authorization header; nil where the job has none. A line end behind a secret is none of it.
    static func header(
        _ authorization: ScrapeAuthorization, _ files: any WorldFileTree
    ) throws(ScrapeFailure) -> String? {
        switch authorization {
        case .none: return nil
        case .basic(let user, let file):
            var password: [UInt8] = []
            if let file { password = try secret(file, files) }
            return "Basic " + base64(Array(user.utf8) + [UInt8(ascii: ":")] + password)
        case .credentials(let type, let file):
            let bytes = try secret(file, files)
            guard bytes.allSatisfy({ $0 >= 0x20 && $0 != 0x7f }) else {
                throw .preparation("the file \(file) has bytes that no header may have")
            }
            return type + " " + String(decoding: bytes, as: UTF8.self)
        }
    }

    private static func secret(
        _ path: String, _ files: any WorldFileTree
    ) throws(ScrapeFailure) -> [UInt8] {
        do {
            var bytes = try files.contents(path, bytesMax: ScrapeLimits.secretBytesMax)
            while let last = bytes.last, [9, 10, 13, 32].contains(last) { bytes.removeLast() }
            return Array(bytes.drop { [9, 10, 13, 32].contains($0) })
        } catch { throw .preparation("\(error)") }
    }

    /// Source: RFC 4648 section 4.
    static func base64(_ bytes: [UInt8]) -> String {
        let digits = Array(
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        var text: [UInt8] = []
        var at = 0
        while at < bytes.count {
            let group = bytes[at..<min(at + 3, bytes.count)]
            var bits = 0
            for byte in group { bits = bits << 8 | Int(byte) }
            bits <<= 8 * (3 - group.count)
            for index in 0..<4 {
                text.append(
                    index <= group.count
                        ? digits[bits >> (18 - 6 * index) & 63] : UInt8(ascii: "="))
            }
            at += 3
        }
        return String(decoding: text, as: UTF8.self)
    }
}

/// `tls_config` as BoringSSL takes it.
enum ScrapeTLS {
    static func context(
        _ tls: ScrapeTLSFiles, _ files: any WorldFileTree
    ) throws(ScrapeFailure) -> NIOSSLContext {
        var configuration = TLSConfiguration.makeClientConfiguration()
        // Source: RFC 8996, and Go's crypto/tls, with which Prometheus asks.
        configuration.minimumTLSVersion = .tlsv12
        configuration.certificateVerification = tls.isUnverified ? .none : .fullVerification
        do {
            if let path = tls.caFile {
                let authorities = try NIOSSLCertificate.fromPEMBytes(files.contents(path))
                configuration.trustRoots = .certificates(authorities)
            }
            if let certFile = tls.certFile, let keyFile = tls.keyFile {
                configuration.certificateChain = try NIOSSLCertificate.fromPEMBytes(
                    files.contents(certFile)
                ).map { .certificate($0) }
                configuration.privateKey = .privateKey(
                    try NIOSSLPrivateKey(bytes: files.contents(keyFile), format: .pem))
            }
            return try NIOSSLContext(configuration: configuration)
        } catch {
            throw .preparation("tls_config can't be used: \(error)")
        }
    }
}
