import JSONReading
import Synchronization
package import World

/// When the helper is asked for its containers, and what is known of them. Times are nanoseconds of the monotonic
/// clock.
///
/// Idle becomes asking when a container is asked for that isn't known, or when what is known is old; asking becomes
/// idle with the answer or without one, and stays so for a while.
package struct DockerNamesStateMachine: Sendable {
    /// Between two askings for containers that aren't known.
    package static let pauseNanoseconds: Int64 = 15_000_000_000
    /// After an asking that failed, for whatever reason.
    package static let pauseAfterFailureNanoseconds: Int64 = 60_000_000_000
    /// What is known is asked for anew after this: containers are renamed.
    package static let ageMaxNanoseconds: Int64 = 300_000_000_000
    /// Containers that are kept, the first of an answer.
    package static let containersMax = 1_000
    /// How often one container that Docker doesn't know makes us ask (Podman's have such ids too) before the next turn.
    private static let attemptsMax = 2

    private enum State {
        /// No asking before the time.
        case idle(until: Int64)
        /// The container that was the reason; nil where age was.
        case asking(String?)
    }

    private var state = State.idle(until: .min)
    private var known: [String: ContainerFacts] = [:]
    /// When what is known is old.
    private var oldAt = Int64.min
    /// Askings for containers that the answer did not have.
    private var attempts: [String: Int] = [:]

    package init() {}

    /// What is known of a container.
    package func facts(_ id: String) -> ContainerFacts? { known[id] }

    /// A container is asked for; whether the helper is to be asked now.
    package mutating func wanted(_ id: String, now: Int64) -> Bool {
        guard case .idle(let until) = state, now >= until else { return false }
        if now >= oldAt {
            attempts = [:]
            state = .asking(nil)
            return true
        }
        guard known[id] == nil, attempts[id, default: 0] < Self.attemptsMax else { return false }
        state = .asking(id)
        return true
    }

    /// All containers are asked for; whether the helper is to be asked now.
    package mutating func wantedAll(now: Int64) -> Bool {
        guard case .idle(let until) = state, now >= until else { return false }
        state = .asking(nil)
        return true
    }

    /// The ids of the containers that are known.
    package var ids: [String] { Array(known.keys) }

    /// The helper has answered.
    package mutating func answered(_ containers: [String: ContainerFacts], now: Int64) {
        if case .asking(let reason?) = state, containers[reason] == nil {
            if attempts.count >= Self.containersMax { attempts = [:] }
            attempts[reason, default: 0] += 1
        }
        known = containers
        oldAt = now + Self.ageMaxNanoseconds
        state = .idle(until: now + Self.pauseNanoseconds)
    }

    /// The helper isn't there, or has not answered as it should. What was known stays.
    package mutating func failed(now: Int64) {
        state = .idle(until: now + Self.pauseAfterFailureNanoseconds)
    }
}

/// The names of Docker's containers, from the helper that may ask Docker (`docs/formats/docker-helper.md`).
///
/// Where a container isn't known, or what is known is five minutes old, the asking thread asks the helper first: at
/// most every 15 s, for at most a second. A host without the helper is remembered as such for a minute.
package final class DockerNames: ContainerNames {
    /// Where the package's unit puts the helper's socket.
    package static let socket = "/run/petrel/docker.sock"
    /// Bytes of an answer with its head.
    package static let answerBytesMax = 4 << 20
    /// The labels that are kept: what a container is of a Compose project.
    package static let labels: Set = ["com.docker.compose.project", "com.docker.compose.service"]
    /// Milliseconds of one asking.
    private static let deadlineMilliseconds: Int64 = 1_000

    private let state = Mutex(DockerNamesStateMachine())
    private let lastProblem = Mutex<String?>(nil)
    private let clock: any WorldClock
    private let ask: @Sendable () throws(ServiceError) -> [UInt8]
    private let address: ServiceAddress

    /// Asks at the socket of that path.
    package convenience init(socket: String = DockerNames.socket, clock: any WorldClock) {
        let address = ServiceAddress.unix(path: socket)
        self.init(at: address, clock: clock) { () throws(ServiceError) in
            let socket = try ServiceSocket(
                address, clock: clock, milliseconds: Self.deadlineMilliseconds)
            try socket.write(
                Array(
                    "GET /containers/json HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n"
                        .utf8
                ))
            return try socket.rest(bytesMax: Self.answerBytesMax)
        }
    }

    /// As the other one, by a call that brings all bytes of the helper's answer to `GET /containers/json`.
    package init(
        at address: ServiceAddress, clock: any WorldClock,
        ask: @escaping @Sendable () throws(ServiceError) -> [UInt8]
    ) {
        self.address = address
        self.clock = clock
        self.ask = ask
    }

    /// Why the last asking failed, with what to do; nil where it did not, or where there is no helper.
    package var problem: String? { lastProblem.withLock { $0 } }

    package func facts(_ containerID: String) -> ContainerFacts? {
        let (facts, isToAsk) = state.withLock { state in
            let isToAsk = state.wanted(containerID, now: clock.monotonicNanoseconds)
            return (state.facts(containerID), isToAsk)
        }
        guard isToAsk else { return facts }
        refresh()
        return state.withLock { $0.facts(containerID) }
    }

    package var ids: [String] {
        if state.withLock({ $0.wantedAll(now: clock.monotonicNanoseconds) }) { refresh() }
        return state.withLock { $0.ids }
    }

    /// Asks the helper.
    private func refresh() {
        do throws(ServiceError) {
            let answer = try HTTPAnswer(try ask(), from: address)
            guard answer.status == 200 else {
                throw .refused(address, code: "HTTP \(answer.status)", message: message(answer))
            }
            let containers = try containers(answer.body)
            lastProblem.withLock { $0 = nil }
            state.withLock { $0.answered(containers, now: clock.monotonicNanoseconds) }
        } catch {
            state.withLock { $0.failed(now: clock.monotonicNanoseconds) }
            lastProblem.withLock { $0 = Self.text(of: error) }
        }
    }

    private static func text(of error: ServiceError) -> String? {
        guard case .connection(let address, _, let errno) = error else {
            return "container names: \(error); see: journalctl -u petrel-docker-helper"
        }
        switch errno {
        // ENOENT: no helper, or no Docker.
        case 2: return nil
        // EACCES
        case 13:
            return "container names: \(address) is not for this user; the agent must be in the "
                + "group petrel-agent"
        default:
            return "container names: \(error); try: sudo systemctl restart "
                + "petrel-docker-helper.socket"
        }
    }

    /// What the helper says of its refusal.
    private func message(_ answer: HTTPAnswer) -> String {
        var reader = JSONReader(answer.body)
        var message: String?
        try? reader.forEachMember { (name, reader) throws(JSONError) in
            if name == "message" { message = try reader.text() } else { try reader.skip() }
        }
        return String((message ?? "no reason given").prefix(200))
    }

    /// The containers of a list, by id. Others than those with an id of 64 digits are left out.
    private func containers(_ body: [UInt8]) throws(ServiceError) -> [String: ContainerFacts] {
        var reader = JSONReader(body)
        var containers: [String: ContainerFacts] = [:]
        do throws(JSONError) {
            guard try reader.kind() == .array else { throw .unexpectedShape }
            try reader.forEachElement { (reader) throws(JSONError) in
                let (id, facts) = try Self.container(&reader)
                guard id.utf8.count == 64, !facts.name.isEmpty,
                    containers.count < DockerNamesStateMachine.containersMax
                else { return }
                containers[id] = facts
            }
            try reader.end()
        } catch { throw .malformed(address, detail: "\(error)") }
        return containers
    }

    private static func container(
        _ reader: inout JSONReader
    ) throws(JSONError) -> (id: String, facts: ContainerFacts) {
        var id = ""
        var facts = ContainerFacts(name: "")
        try reader.forEachMember { (name, reader) throws(JSONError) in
            switch name {
            case "Id": id = try reader.text() ?? ""
            case "Image": facts.image = try reader.text() ?? ""
            case "Names":
                try reader.forEachElement { (reader) throws(JSONError) in
                    // `/web/db` is what the container `web` calls this one.
                    guard let name = try reader.text(), !name.dropFirst().contains("/") else {
                        return
                    }
                    if facts.name.isEmpty { facts.name = name }
                }
            case "Labels":
                try reader.forEachMember { (label, reader) throws(JSONError) in
                    guard labels.contains(label) else { return try reader.skip() }
                    facts.labels[label] = try reader.text()
                }
            default: try reader.skip()
            }
        }
        return (id, facts)
    }
}
