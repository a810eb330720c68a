package import GoTemplate
package import Model

/// Where a label comes from.
package enum LabelCategory: UInt8, Hashable, Sendable {
    case stream, structuredMetadata, parsed
}

/// A label name as its number within one `PipelineRun`: `EntryLabels.name(_:)`.
package struct LabelName: Hashable, Sendable {
    let number: Int32
}

/// Names of labels that a pipeline gives by itself.
package enum PipelineLabelNames {
    /// Of what went wrong with an entry; as fields beside a line they make it an entry with an error.
    package static let errors: Set<String> = [EntryLabels.errorName, EntryLabels.errorDetailsName]
    /// All that say how an entry fared, instead of what it is.
    package static let own = errors.union([EntryLabels.preserveErrorName])
    /// Behind the name of a field that gives way to a label of the stream or a field beside the line.
    package static let extractedSuffix = "_extracted"
}

/// The labels of one entry on its way through a pipeline, over the labels of its stream.
///
/// A name is of one category at a time. `set` lets parsed labels win over structured metadata and that over what was
/// set of the stream. A reader, though, shows all: parsers put a value whose name is a stream's label, or that of
/// structured metadata, under `<name>_extracted` (`nameToExtract`), and keep the first of two values they find. An
/// empty value is a value. Source: Loki 3.6 `LabelsBuilder`, observed by its tests.
///
/// Values lie in one buffer and names are numbers, so an entry allocates nothing until somebody asks for a text. There
/// is one of these in a `PipelineRun`; it is good until the next entry.
///
/// Exclusive access is not checked at run time, which took 40 % of the time: one thread uses an object, and the
/// closures that see its buffers (`append`, `body`) do not use the object itself but for lookups of values.
package final class EntryLabels {
    /// Names that are remembered between entries; above it the names that lines brought are forgotten.
    static let namesMax = 1 << 16
    static let nameBytesMax = 4 << 20
    /// Bytes of values of one entry; labels beyond it are left out.
    static let valueBytesMax = 16 << 20
    static let errorName = "__error__"
    static let errorDetailsName = "__error_details__"
    static let preserveErrorName = "__preserve_error__"

    struct Slot {
        var name: Int32
        var start: Int32
        var count: Int32
        var category: LabelCategory
        /// False for what was deleted, and for labels of the stream that another one hides.
        var isLive = true
        /// A parser, or something like it, has set it.
        var wasParsed = false
    }

    /// `__error__`: the kind of the first failure, empty without one.
    @exclusivity(unchecked) package var error = ""
    /// `__error_details__`.
    @exclusivity(unchecked) package var errorDetails = ""

    /// What `now` is in templates: the time of the query's evaluation. Nil stands for each entry's own time.
    package var now: TimestampNS?
    /// `GoLocations.toDateInZone` of the time zones that templates know.
    package var toDateInZone = GoLocations.utcAlone.toDateInZone
    /// Room for what templates write.
    @exclusivity(unchecked) var formatted: [UInt8] = []

    let hints: PipelineHints
    @exclusivity(unchecked) var names: ByteTable
    /// Names below it are never forgotten: those of the query.
    private var permanentNameCount: Int
    /// Counts how often names were forgotten.
    @exclusivity(unchecked) private(set) var generation = 0
    /// Of name `n`: its slot in `added`, good where `epochOfName[n]` is `epoch`.
    @exclusivity(unchecked) private var slotOfName: [Int32]
    @exclusivity(unchecked) private var epochOfName: [UInt32]
    @exclusivity(unchecked) private var epoch: UInt32 = 0
    /// Of name `n`: the name with `_extracted`, -1 where it was not asked for yet.
    @exclusivity(unchecked) private var extractedName: [Int32]
    @exclusivity(unchecked) private var requiredSeenCount = 0

    @exclusivity(unchecked) private(set) var stream: StreamState
    @exclusivity(unchecked) private(set) var base: [Slot] = []
    @exclusivity(unchecked) private(set) var added: [Slot] = []
    @exclusivity(unchecked) private(set) var values: [UInt8] = []
    @exclusivity(unchecked) private var isBaseTouched = false
    @exclusivity(unchecked) private(set) var hasDeletions = false

    init(names: ByteTable, hints: PipelineHints) {
        self.names = names
        self.hints = hints
        permanentNameCount = names.count
        slotOfName = [Int32](repeating: 0, count: names.count)
        epochOfName = [UInt32](repeating: 0, count: names.count)
        extractedName = [Int32](repeating: -1, count: names.count)
        stream = StreamState(.empty)
    }

    // MARK: - Texts

    package var hasError: Bool { !error.isEmpty }

    /// The number of `name`, for lookups in many entries. To be asked before the first entry; later it costs more.
    package func name(_ text: String) -> LabelName {
        if names.count > permanentNameCount {
            var text = text
            let known = text.withUTF8 { names.find($0) }
            if known >= 0, known < permanentNameCount { return LabelName(number: known) }
            forgetNames()
        }
        let number = names.intern(text)
        growNames()
        permanentNameCount = names.count
        return LabelName(number: number)
    }

    /// The value of a label; nil where there is none. `__error__` and `__error_details__` are no labels here.
    package func value(of name: LabelName) -> String? {
        find(name.number).map(text)
    }

    package func value(of name: String) -> String? {
        var name = name
        let number = name.withUTF8 { names.find($0) }
        return number < 0 ? nil : find(number).map(text)
    }

    /// Calls `body` with the bytes of a label's value, valid UTF-8; with nil where there is none.
    package func withValue<Result>(
        of name: LabelName, _ body: (UnsafeBufferPointer<UInt8>?) -> Result
    ) -> Result {
        withBytes(name.number, body)
    }

    package func category(of name: String) -> LabelCategory? {
        var name = name
        let number = name.withUTF8 { names.find($0) }
        return number < 0 ? nil : find(number)?.category
    }

    /// Whether the stream has `name`, deleted or not.
    package func isStreamLabel(_ name: String) -> Bool {
        var name = name
        let number = name.withUTF8 { names.find($0) }
        return number >= 0 && isOfStream(number)
    }

    /// Sets a label; `category` says how it is told apart in answers. Does nothing where the name is of a category that
    /// wins.
    package func set(_ category: LabelCategory, _ name: String, _ value: String) {
        let number = names.intern(name)
        growNames()
        var value = value
        value.withUTF8 { set(category, number, $0) }
    }

    /// Takes a label away, wherever it comes from.
    package func delete(_ name: String) {
        var name = name
        let number = name.withUTF8 { names.find($0) }
        if number >= 0 { delete(number) }
    }

    /// Calls `body` for every label, errors included as parsed ones, in no special order.
    package func visit(_ body: (_ name: String, _ value: String, LabelCategory) -> Void) {
        forEachSlot { slot in body(names.text(slot.name), text(slot), slot.category) }
        if !error.isEmpty { body(Self.errorName, error, .parsed) }
        if !errorDetails.isEmpty { body(Self.errorDetailsName, errorDetails, .parsed) }
    }

    /// Sets `__error__`, and `__error_details__` where there are any. Source: Loki, every parser.
    package func fail(_ kind: String, _ details: String?) {
        error = kind
        if let details { errorDetails = details }
        if hints.preservesError { set(.parsed, Self.preserveErrorName, "true") }
    }

    // MARK: - Numbers

    /// Takes up the next entry, of `stream`.
    func begin(_ stream: StreamState) {
        if names.count > Self.namesMax || names.byteCount > Self.nameBytesMax { forgetNames() }
        epoch &+= 1
        if epoch == 0 {
            for index in epochOfName.indices { epochOfName[index] = 0 }
            epoch = 1
        }
        added.removeAll(keepingCapacity: true)
        requiredSeenCount = 0
        hasDeletions = false
        error = ""
        errorDetails = ""
        if stream === self.stream, stream.generation == generation {
            if values.count > stream.values.count {
                values.removeLast(values.count - stream.values.count)
            }
            guard isBaseTouched else { return }
        } else {
            self.stream = stream
            values.removeAll(keepingCapacity: true)
            values.append(contentsOf: stream.values)
            if stream.generation != generation {
                stream.number(&names, generation)
                growNames()
            }
        }
        isBaseTouched = false
        base.removeAll(keepingCapacity: true)
        base.append(contentsOf: stream.slots)
    }

    /// The label `number`; nil where there is none.
    func find(_ number: Int32) -> Slot? {
        if epochOfName[Int(number)] == epoch {
            let slot = added[Int(slotOfName[Int(number)])]
            if slot.isLive { return slot }
        }
        for slot in base where slot.name == number { return slot.isLive ? slot : nil }
        return nil
    }

    func withBytes<Result>(
        _ number: Int32, _ body: (UnsafeBufferPointer<UInt8>?) -> Result
    ) -> Result {
        guard let slot = find(number) else { return body(nil) }
        return withBytes(slot, body)
    }

    func withBytes<Result>(
        _ slot: Slot, _ body: (UnsafeBufferPointer<UInt8>) -> Result
    ) -> Result {
        values.withUnsafeBufferPointer { values in
            let range = Int(slot.start)..<Int(slot.start + slot.count)
            return body(UnsafeBufferPointer(rebasing: values[range]))
        }
    }

    func text(_ slot: Slot) -> String {
        withBytes(slot) { String(decoding: $0, as: UTF8.self) }
    }

    func isOfStream(_ number: Int32) -> Bool {
        for slot in base where slot.name == number { return true }
        return false
    }

    /// The name under which a parser stores what it finds as `number`; nil where it is not to: nobody asks for it, or
    /// the entry has it already. Source: Loki, `BaseHas`, `HasInCategory`, `ShouldExtract`, `Extracted`.
    func nameToExtract(_ number: Int32) -> Int32? {
        let name = nameBesideOthers(number)
        guard hints.wants(name) else { return nil }
        if epochOfName[Int(name)] == epoch, added[Int(slotOfName[Int(name)])].wasParsed {
            return nil
        }
        return name
    }

    /// `number`, or the name with `_extracted` where the stream or the structured metadata have it.
    func nameBesideOthers(_ number: Int32) -> Int32 {
        isOfStream(number) || isMetadata(number) ? extracted(number) : number
    }

    func isMetadata(_ number: Int32) -> Bool {
        guard epochOfName[Int(number)] == epoch else { return false }
        let slot = added[Int(slotOfName[Int(number)])]
        return slot.isLive && slot.category == .structuredMetadata
    }

    /// Whether all labels that the query needs were found, so that no parser has to look further.
    var hasAllRequired: Bool {
        hints.requiredCount > 0 && requiredSeenCount == hints.requiredCount
    }

    /// Whether no parser has to look at all.
    var needsNoLabels: Bool { hints.needsNoLabels || hasAllRequired }

    /// The number of a name that a line brings.
    func intern(_ bytes: UnsafeBufferPointer<UInt8>) -> Int32 {
        let number = names.intern(bytes)
        growNames()
        return number
    }

    func set(_ category: LabelCategory, _ number: Int32, _ bytes: UnsafeBufferPointer<UInt8>) {
        guard values.count + bytes.count <= Self.valueBytesMax else { return }
        let start = Int32(values.count)
        values.append(contentsOf: bytes)
        set(category, number, start: start, count: Int32(bytes.count))
    }

    /// Sets a label to bytes that `append` adds to the values.
    func set(_ category: LabelCategory, _ number: Int32, append: (inout [UInt8]) -> Void) {
        let start = values.count
        append(&values)
        guard values.count <= Self.valueBytesMax else {
            values.removeLast(values.count - start)
            return
        }
        set(category, number, start: Int32(start), count: Int32(values.count - start))
    }

    /// Sets a parsed label to what `formatted` holds.
    func setFormatted(_ number: Int32) {
        formatted.withUnsafeBufferPointer { set(.parsed, number, $0) }
    }

    func delete(_ number: Int32) {
        hasDeletions = true
        if epochOfName[Int(number)] == epoch {
            added[Int(slotOfName[Int(number)])].isLive = false
        }
        hideBase(number)
    }

    func forEachSlot(_ body: (Slot) -> Void) {
        for slot in base where slot.isLive { body(slot) }
        for slot in added where slot.isLive { body(slot) }
    }

    /// Whether there is no label and no error.
    var isEmpty: Bool {
        error.isEmpty && !base.contains(where: \.isLive) && !added.contains(where: \.isLive)
    }

    /// Whether the labels are those of the stream.
    var isUnchanged: Bool { added.isEmpty && !hasDeletions }

    // MARK: - Private

    private func set(_ category: LabelCategory, _ number: Int32, start: Int32, count: Int32) {
        let index = Int(number)
        if epochOfName[index] != epoch {
            epochOfName[index] = epoch
            slotOfName[index] = Int32(added.count)
            added.append(Slot(name: number, start: start, count: count, category: category))
            hideBase(number)
            if category == .parsed { recordParsed(added.count - 1) }
            return
        }
        let at = Int(slotOfName[index])
        if added[at].isLive, category.rawValue < added[at].category.rawValue { return }
        added[at].start = start
        added[at].count = count
        added[at].category = category
        added[at].isLive = true
        if category == .parsed { recordParsed(at) }
    }

    private func recordParsed(_ at: Int) {
        guard !added[at].wasParsed else { return }
        added[at].wasParsed = true
        if hints.isRequired(added[at].name) { requiredSeenCount += 1 }
    }

    private func hideBase(_ number: Int32) {
        for index in base.indices where base[index].name == number && base[index].isLive {
            base[index].isLive = false
            isBaseTouched = true
        }
    }

    private func extracted(_ number: Int32) -> Int32 {
        let known = extractedName[Int(number)]
        if known >= 0 { return known }
        let name = Array(names.bytes(number)) + Array(PipelineLabelNames.extractedSuffix.utf8)
        let found = name.withUnsafeBufferPointer { intern($0) }
        extractedName[Int(number)] = found
        return found
    }

    private func growNames() {
        while slotOfName.count < names.count {
            slotOfName.append(0)
            epochOfName.append(0)
            extractedName.append(-1)
        }
    }

    /// Forgets the names that lines brought. Between two entries only.
    private func forgetNames() {
        names.truncate(to: permanentNameCount)
        slotOfName.removeLast(slotOfName.count - permanentNameCount)
        epochOfName.removeLast(epochOfName.count - permanentNameCount)
        extractedName = [Int32](repeating: -1, count: permanentNameCount)
        generation += 1
    }
}

/// A stream's labels, prepared for its entries.
final class StreamState {
    let labels: Labels
    let values: [UInt8]
    private(set) var slots: [EntryLabels.Slot] = []
    /// Of the names in `slots`.
    private(set) var generation = -1
    /// What the entries share whose labels no stage changed.
    var labelSet: EntryLabelSet?
    var group: Int32 = -1

    init(_ labels: Labels) {
        self.labels = labels
        var values: [UInt8] = []
        for label in labels {
            let start = Int32(values.count)
            values.append(contentsOf: label.value.utf8)
            slots.append(
                EntryLabels.Slot(
                    name: -1, start: start, count: Int32(values.count) - start, category: .stream))
        }
        self.values = values
    }

    /// Gives the names their numbers.
    func number(_ names: inout ByteTable, _ generation: Int) {
        for (index, label) in labels.enumerated() { slots[index].name = names.intern(label.name) }
        self.generation = generation
    }
}
