internal import Model
internal import Storage
internal import Wire

/// What a series id of the current dictionary came to.
enum SeriesSlot: Hashable, Sendable {
    case unasked
    case numbered(SeriesID)
    /// Its samples become a gap of this reason.
    case refused(GapReason, detail: String)
}

/// The definitions of a connection's current dictionary with the collector's numbers for them.
struct SessionDictionary: Sendable {
    private(set) var definitions = StreamDictionary(number: 0)
    /// Index: the id.
    private var slots: [SeriesSlot] = []
    private var numbered: Set<SeriesID> = []
    private let host: HostName
    private let role: String

    /// `role` is empty for a host without one.
    init(host: HostName, role: String) {
        self.host = host
        self.role = role
    }

    var number: UInt64 { definitions.number }

    /// Makes `number` the current dictionary; another than before starts empty.
    mutating func select(_ number: UInt64) {
        guard definitions.number != number else { return }
        definitions = StreamDictionary(number: number)
        slots = []
        numbered = []
    }

    /// Forgets what the storage said of the definitions: it is asked again.
    mutating func forgetNumbers() {
        slots = []
        numbered = []
    }

    /// Takes definitions that were sent ahead of a connection's first batch. Faulty ones stay undefined, and the samples
    /// that name them are refused one by one.
    mutating func define(_ message: Petrel_Fleet_V1_Dictionary) {
        select(message.dictionary)
        _ = definitions.define(message)
    }

    /// Decodes the payload of a batch of this dictionary.
    mutating func decode(_ payload: [UInt8], _ kind: PayloadKind) throws(WireError) -> (
        payload: DecodedPayload, problems: [RecordProblem]
    ) {
        switch kind {
        case .metrics:
            let (metrics, problems) = try MetricsPayload.decode(payload, dictionary: &definitions)
            return (.metrics(metrics), problems)
        case .logs:
            let (streams, problems) = try LogPayload.decode(payload, dictionary: &definitions)
            let relabelled = streams.map {
                LogStream(labels: owned($0.labels), entries: $0.entries)
            }
            return (.logs(relabelled), problems)
        case .gap: return (.gap(try GapPayload.decode(payload)), [])
        }
    }

    func slot(_ id: UInt32) -> SeriesSlot {
        Int(id) < slots.count ? slots[Int(id)] : .unasked
    }

    /// Ids used by `scrapes` that have no number yet, ascending, and what to ask the storage for.
    func unasked(in scrapes: [DecodedScrape]) -> (ids: [UInt32], series: [SeriesDefinition]) {
        var ids: Set<UInt32> = []
        for scrape in scrapes {
            for id in scrape.series where slot(id) == .unasked { ids.insert(id) }
        }
        let sorted = ids.sorted()
        let series = sorted.compactMap { id in
            definitions.series(id).map {
                SeriesDefinition(labels: owned($0.labels), metadata: $0.metadata)
            }
        }
        precondition(series.count == sorted.count, "decoded scrapes name defined series")
        return (sorted, series)
    }

    /// Notes what `id` came to.
    mutating func note(_ id: UInt32, _ slot: SeriesSlot) {
        while slots.count <= Int(id) { slots.append(.unasked) }
        if case .numbered(let number) = slot, !numbered.insert(number).inserted {
            // Told apart by nothing but the host or role that the agent claimed.
            slots[Int(id)] = .refused(
                .rejected, detail: "a second series with the same labels on this host")
            return
        }
        slots[Int(id)] = slot
    }

    /// Labels as the collector stores them: `host` is the certificate's and `role` the hello's, whatever was sent.
    private func owned(_ labels: Labels) -> Labels {
        labels.setting("host", host.text).setting("role", role)
    }
}
