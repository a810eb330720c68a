import Glibc
package import Model
import Synchronization

/// chronyd's tracking: how well the clock follows its source. Asked on the host's own UDP port 323, which needs no
/// right.
///
/// Other than chrony_exporter 0.13: addresses are never looked up in the DNS, so `tracking_name` is the address, or the
/// name of a reference clock; `chrony_tracking_remote_reference` is 0 also where there is no source at all, or where
/// chronyd serves its own clock by `local`, which newer versions tell by the reference's number and not by an address.
/// Source: SuperQ/chrony_exporter 0.13.3 `collector/tracking.go`.
package struct ChronyReader: NodeReader {
    /// Milliseconds for the answer, which comes at once where there is one.
    package static let deadlineMilliseconds = 500

    package let name = "chrony"
    package let job = "chrony"
    private let address: ServiceAddress
    private let exchange: @Sendable ([UInt8]) throws(ServiceError) -> [UInt8]
    private let memory = ChronyMemory()

    /// `host` is an IP address; chronyd answers on 127.0.0.1 and ::1 unless `bindcmdaddress` says otherwise, and not
    /// at all with `cmdport 0`.
    package init(host: String = "127.0.0.1", port: UInt16 = 323) {
        self.init(at: .tcp(host: host, port: port)) { (question) throws(ServiceError) in
            try DatagramExchange.ask(
                host, port: port, question, milliseconds: Self.deadlineMilliseconds
            ) { ChronyTracking.isAnswer($0, to: question) }
        }
    }

    /// As the other one, by a call that sends a datagram and brings the answer to it.
    package init(
        at address: ServiceAddress,
        exchange: @escaping @Sendable ([UInt8]) throws(ServiceError) -> [UInt8]
    ) {
        self.address = address
        self.exchange = exchange
    }

    /// Why the last reading got no answer, with what to do.
    package var problems: [String] { memory.state.withLock { $0.problem.map { [$0] } ?? [] } }

    /// Nothing on a host where nobody has listened on the port since the agent started; `chrony_up` 0 where somebody
    /// has, or where no answer comes or a wrong one. Throws nothing.
    package func read(now: TimestampNS) throws(ReadError) -> [MetricFamily] {
        let up = { (value: Double) -> MetricFamily in
            .gauge("chrony_up", help: "Whether the chrony server is up.", value)
        }
        do throws(ServiceError) {
            // Any number that differs from that of the last reading.
            let question = ChronyTracking.question(
                sequence: UInt32(truncatingIfNeeded: now.rawValue / 1_000))
            let tracking = try ChronyTracking(try exchange(question), from: address)
            memory.state.withLock { $0 = .init(isSeen: true, problem: nil) }
            return [up(1)] + Self.families(tracking)
        } catch {
            var isAbsent = false
            if case .connection = error { isAbsent = true }
            let isSeen = memory.state.withLock { state in
                state.isSeen = state.isSeen || !isAbsent
                state.problem =
                    state.isSeen
                    ? "chrony: \(error); see: systemctl status chrony, and `cmdport` in "
                        + "/etc/chrony/chrony.conf" : nil
                return state.isSeen
            }
            return isSeen ? [up(0)] : []
        }
    }

    private static func families(_ tracking: ChronyTracking) -> [MetricFamily] {
        func gauge(_ name: String, _ help: String, _ value: Double) -> MetricFamily {
            .gauge("chrony_tracking_" + name, help: help, value)
        }
        let info = Labels([
            Label("tracking_address", tracking.address ?? tracking.referenceName),
            Label("tracking_name", tracking.address ?? tracking.referenceName),
            Label("tracking_refid", tracking.referenceDigits),
        ])
        return [
            MetricFamily(
                "chrony_tracking_info", .gauge, help: "Chrony tracking info",
                points: [.init(info, 1)]),
            gauge(
                "last_offset_seconds", "Chrony tracking last offset in seconds",
                tracking.lastOffset),
            gauge(
                "reference_timestamp_seconds", "Chrony tracking Reference timestamp",
                tracking.referenceSeconds),
            gauge("system_time_seconds", "Chrony tracking System time", tracking.systemTime),
            gauge(
                "remote_reference", "Chrony tracking is connected to a remote source",
                tracking.hasReference ? 1 : 0),
            gauge(
                "rms_offset_seconds", "Chrony tracking long-term average of the offset",
                tracking.rmsOffset),
            gauge(
                "root_delay_seconds",
                "This is the total of the network path delays to the stratum-1 computer from which "
                    + "the computer is ultimately synchronised", tracking.rootDelay),
            gauge(
                "root_dispersion_seconds",
                "Chrony tracking total of all measurement errors to the NTP root",
                tracking.rootDispersion),
            gauge(
                "frequency_ppms",
                "Rate by which the system's clock would be wrong if chronyd was not correcting it, "
                    + "in PPMs", tracking.frequency),
            gauge(
                "residual_frequency_ppms",
                "For the currently selected reference source, the difference between the frequency "
                    + "it suggests and the one currently in use, in PPMs",
                tracking.residualFrequency),
            gauge(
                "skew_ppms", "The estimated error bound on the frequency, in PPMs", tracking.skew),
            gauge(
                "update_interval_seconds",
                "The time elapsed since the last measurement from the reference source was "
                    + "processed, in seconds", tracking.updateInterval),
            gauge("stratum", "Chrony tracking client stratum", Double(tracking.stratum)),
        ]
    }
}

private final class ChronyMemory: Sendable {
    struct State {
        /// Whether anybody has listened since the agent started.
        var isSeen = false
        var problem: String?
    }
    let state = Mutex(State())
}

/// chronyd's answer to `tracking`, and the question for it.
///
///     question, 104 bytes: version 6, type 1, 0, 0 | command 33 (16 bits), attempt (16) | sequence (32) | 0 …
///     answer, 104 bytes:   version 6, type 2, 0, 0 | command 33, format 5 | status (16), 0 (48) | sequence | 0 (64) |
///                          reference (32) | address (128), its family (16), 0 (16) | stratum (16), leap status (16) |
///                          time of the reference (seconds 32+32, nanoseconds 32) | nine numbers of 32 bits
///
/// A question is as long as its answer, so that nobody is made to send more than they got. All is in network order. A
/// number is 7 bits of exponent and 25 of coefficient, both signed: coefficient × 2^(exponent - 25).
/// Source: chrony 4.8 `candm.h`, `pktlength.c`, `util.c`.
struct ChronyTracking {
    static let byteCount = 104
    private static let version: UInt8 = 6
    private static let command: UInt16 = 33
    private static let format: UInt16 = 5
    /// What chronyd names its own clock where it serves it: 127.127.1.1.
    private static let localReference: UInt32 = 0x7F7F_0101

    var reference: UInt32
    /// Nil where the source is a reference clock, or where there is none.
    var address: String?
    var stratum: UInt16
    /// Seconds since the epoch.
    var referenceSeconds: Double
    /// Seconds that the clock is behind; negative where it is ahead.
    var systemTime: Double
    /// Seconds.
    var lastOffset, rmsOffset, rootDelay, rootDispersion, updateInterval: Double
    /// Parts per million.
    var frequency, residualFrequency, skew: Double

    static func question(sequence: UInt32) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: byteCount)
        bytes[0] = version
        bytes[1] = 1
        bytes[5] = UInt8(truncatingIfNeeded: command)
        for index in 0..<4 {
            bytes[8 + index] = UInt8(truncatingIfNeeded: sequence >> UInt32(24 - 8 * index))
        }
        return bytes
    }

    /// Whether `bytes` answers that question and not an earlier one; it may be a refusal.
    static func isAnswer(_ bytes: [UInt8], to question: [UInt8]) -> Bool {
        bytes.count >= 28 && question.count >= 12 && bytes[1] == 2
            && bytes[4..<6] == question[4..<6]
            && bytes[16..<20] == question[8..<12]
    }

    /// Throws `refused` and `malformed`.
    init(_ bytes: [UInt8], from place: ServiceAddress) throws(ServiceError) {
        guard bytes.count >= 28, bytes[1] == 2 else {
            throw .malformed(place, detail: "no answer of chronyd's")
        }
        var fields = BigEndianFields(bytes, at: 4)
        let (command, format, status) = (fields.next16(), fields.next16(), fields.next16())
        guard status == 0 else {
            throw .refused(place, code: "\(status)", message: "chronyd refuses `tracking`")
        }
        guard bytes[0] == Self.version, command == Self.command, format == Self.format,
            bytes.count >= Self.byteCount
        else {
            throw .malformed(
                place,
                detail: "an answer of chronyd's in another form: version \(bytes[0]), "
                    + "format \(format), \(bytes.count) bytes")
        }
        fields.at = 28
        reference = fields.next32()
        let raw = bytes[fields.at..<(fields.at + 16)]
        fields.at += 16
        address = Self.address(raw, family: fields.next16())
        fields.at += 2
        stratum = fields.next16()
        fields.at += 2
        let (high, low, nanoseconds) = (fields.next32(), fields.next32(), fields.next32())
        // A chronyd with times of 32 bits says so in the upper half.
        let seconds = UInt64(high == 0x7FFF_FFFF ? 0 : high) << 32 | UInt64(low)
        referenceSeconds =
            seconds < 1 << 33
            ? Double(seconds * 1_000_000_000 + UInt64(min(nanoseconds, 999_999_999))) / 1e9
            : Double(seconds)
        systemTime = fields.nextNumber()
        lastOffset = fields.nextNumber()
        rmsOffset = fields.nextNumber()
        frequency = fields.nextNumber()
        residualFrequency = fields.nextNumber()
        skew = fields.nextNumber()
        rootDelay = fields.nextNumber()
        rootDispersion = fields.nextNumber()
        updateInterval = fields.nextNumber()
    }

    /// Whether the clock follows anything but itself.
    var hasReference: Bool { reference != 0 && reference != Self.localReference }

    /// Eight digits.
    var referenceDigits: String {
        let digits = String(reference, radix: 16, uppercase: true)
        return String(repeating: "0", count: max(0, 8 - digits.count)) + digits
    }

    /// The printable characters among the four of the reference: `GPS`, `PPS`.
    var referenceName: String {
        String(
            String.UnicodeScalarView(
                [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: reference >> $0) }
                    .filter { (32...126).contains($0) }.map { Unicode.Scalar($0) }))
    }

    private static func address(_ bytes: ArraySlice<UInt8>, family: UInt16) -> String? {
        let domain: Int32
        switch family {
        case 1: domain = AF_INET
        case 2: domain = AF_INET6
        default: return nil
        }
        var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        let isText = bytes.withUnsafeBytes { raw in
            inet_ntop(domain, raw.baseAddress, &text, socklen_t(text.count)) != nil
        }
        guard isText else { return nil }
        return String(
            decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

/// Fields in network order; what lies past the end is 0.
private struct BigEndianFields {
    private let bytes: [UInt8]
    var at: Int

    init(_ bytes: [UInt8], at: Int) {
        self.bytes = bytes
        self.at = at
    }

    mutating func next16() -> UInt16 { UInt16(truncatingIfNeeded: next(2)) }
    mutating func next32() -> UInt32 { next(4) }

    /// chronyd's own format of a number.
    mutating func nextNumber() -> Double {
        let bits = Int32(bitPattern: next32())
        // Arithmetic shifts carry the signs along.
        let exponent = Int(bits >> 25) - 25
        let coefficient = (bits << 7) >> 7
        return Double(coefficient) * Double(sign: .plus, exponent: exponent, significand: 1)
    }

    private mutating func next(_ count: Int) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<count {
            value = value << 8 | UInt32(at < bytes.count ? bytes[at] : 0)
            at += 1
        }
        return value
    }
}
