package import Model

/// Which process a stream comes from, by what its hello says.
package struct StreamOrigin: Hashable, Sendable {
    package var machineID: String
    package var bootID: String
    /// Random number of the process; 0 where it did not say.
    package var instance: UInt64

    package init(machineID: String, bootID: String, instance: UInt64) {
        self.machineID = machineID
        self.bootID = bootID
        self.instance = instance
    }

    package init(_ facts: HostFacts) {
        self.init(machineID: facts.machineID, bootID: facts.bootID, instance: facts.instance)
    }

    /// Whether `other` is this process; where one of them names none, whether it is this machine since its boot.
    func isProcess(_ other: StreamOrigin) -> Bool {
        if instance != 0, other.instance != 0 { return instance == other.instance }
        return machineID == other.machineID && bootID == other.bootID
    }

    /// For a person.
    var text: String {
        "machine \(machineID.isEmpty ? "unknown" : machineID) since boot "
            + (bootID.isEmpty ? "unknown" : bootID)
    }
}

/// Which process may stream as one host. Pure; the board performs what it says.
///
/// A certificate copied with its disk makes two processes of one host. Only one of them is served: the one that streams.
/// A newcomer that is another process is let in when the streams before it have ended or do not answer a probe (a
/// machine that rebooted, a network that forgot a connection); while they answer, it is a copy. A process that another
/// one followed never comes back by itself, for processes number themselves at random: where it does come back, there
/// are two, and the one that is served stays.
package struct HostFence: Hashable, Sendable {
    /// What an arriving stream comes to.
    package enum Verdict: Hashable, Sendable {
        /// It is served; `ending` are sessions that it takes the place of.
        case admit(ending: [UInt64])
        /// Another process holds the host by these sessions: they must be asked first.
        case probe([UInt64])
        /// It is a copy of `holder`; `isNews` at its first refusal.
        case refuse(holder: StreamOrigin, isNews: Bool)
    }

    /// Most processes remembered that others followed, most refused ones and most refusals; the oldest are forgotten.
    package static let rememberedMax = 32

    /// The process that streams, or did last; nil before the first.
    package private(set) var holder: StreamOrigin?
    private var sessions: [UInt64: StreamKind] = [:]
    private var followed: [UInt64] = []
    private var refused: [StreamOrigin] = []
    private var refusals: [String] = []

    /// Nobody has streamed yet.
    package init() {}

    /// Live sessions of the holder, ascending.
    package var live: [UInt64] { sessions.keys.sorted() }

    /// The session `session` has said whose stream of `kind` it is.
    package mutating func arrive(
        _ session: UInt64, _ kind: StreamKind, from origin: StreamOrigin
    ) -> Verdict {
        if origin.instance != 0, followed.contains(origin.instance), let holder {
            return refuse(origin, for: holder)
        }
        guard let holder, !sessions.isEmpty, !holder.isProcess(origin) else {
            return admit(session, kind, origin)
        }
        return .probe(live)
    }

    /// No probe of the sessions `probed` was answered in time. Where others stream by now they are to be asked too.
    package mutating func arrive(
        _ session: UInt64, _ kind: StreamKind, from origin: StreamOrigin,
        silent probed: [UInt64]
    ) -> Verdict {
        let verdict = arrive(session, kind, from: origin)
        guard case .probe(let live) = verdict, Set(live).isSubset(of: probed) else {
            return verdict
        }
        sessions = [:]
        guard case .admit = admit(session, kind, origin) else { return verdict }
        return .admit(ending: live)
    }

    /// A probed session answered: `origin` is a copy.
    package mutating func answered(against origin: StreamOrigin) -> Verdict {
        refuse(origin, for: holder ?? origin)
    }

    /// Whether a refusal for another reason than a copy, which agents repeat at each attempt, is the first with this
    /// detail.
    package mutating func isNews(refusal detail: String) -> Bool {
        guard !refusals.contains(detail) else { return false }
        remember(detail, in: &refusals)
        return true
    }

    /// The session is over.
    package mutating func leave(_ session: UInt64) { sessions[session] = nil }

    private mutating func admit(
        _ session: UInt64, _ kind: StreamKind, _ origin: StreamOrigin
    ) -> Verdict {
        if let holder, !holder.isProcess(origin), holder.instance != 0 {
            remember(holder.instance, in: &followed)
        }
        holder = origin
        let ending = live.filter { sessions[$0] == kind && $0 != session }
        for number in ending { sessions[number] = nil }
        sessions[session] = kind
        return .admit(ending: ending)
    }

    private mutating func refuse(_ origin: StreamOrigin, for holder: StreamOrigin) -> Verdict {
        let isNews = !refused.contains(origin)
        if isNews { remember(origin, in: &refused) }
        return .refuse(holder: holder, isNews: isNews)
    }

    private func remember<Item>(_ item: Item, in list: inout [Item]) {
        if list.count >= Self.rememberedMax { list.removeFirst() }
        list.append(item)
    }
}
