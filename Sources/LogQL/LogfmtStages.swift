import LogQLSyntax

/// `logfmt`: every pair of a line becomes a label; a key alone, and one with an empty value, only with `--keep-empty`.
/// What is no pair is passed over, with `--strict` it ends the reading and is the entry's error. Source: LogQL's
/// documentation, "logfmt"; Loki 3.6 `LogfmtParser`.
enum LogfmtStage {
    static func process(
        _ line: [UInt8], _ flags: LogfmtFlags, _ labels: EntryLabels,
        _ scratch: inout ParserScratch
    ) {
        guard !labels.needsNoLabels else { return }
        let isStrict = flags.contains(.strict)
        let keepsEmpty = flags.contains(.keepEmpty)
        line.withUnsafeBufferPointer { text in
            var scanner = LogfmtScanner(text)
            while !scanner.isAtEnd {
                guard scanner.next() else {
                    if isStrict { break }
                    continue
                }
                guard keepsEmpty || !scanner.value.isEmpty else { continue }
                scratch.name.removeAll(keepingCapacity: true)
                appendSanitized(
                    UnsafeBufferPointer(rebasing: text[scanner.key]), to: &scratch.name)
                guard !scratch.name.isEmpty,
                    let name = labels.nameToExtract(bytes: scratch.name)
                else { continue }
                labels.setLogfmt(name, text, scanner, &scratch, isBlanked: true)
                if labels.hasAllRequired { break }
            }
            if isStrict, let fault = scanner.faultText {
                labels.fail(EntryFailure.logfmt, fault)
            }
        }
    }
}

/// `logfmt label="key", …`: the values of some keys become labels; where there is none, an empty value does. The last
/// value of a key counts. Source: Loki 3.6 `LogfmtExpressionParser`.
struct LogfmtKeyStage: Sendable {
    private struct Target: Sendable {
        var name: Int32
        var label: [UInt8]
        var key: [UInt8]
    }

    private let targets: [Target]
    private let isStrict: Bool

    init(_ targets: [(name: Int32, label: String, key: LogfmtKey)], flags: LogfmtFlags) {
        self.targets = targets.map {
            Target(name: $0.name, label: Array($0.label.utf8), key: $0.key.bytes)
        }
        isStrict = flags.contains(.strict)
    }

    func process(_ line: [UInt8], _ labels: EntryLabels, _ scratch: inout ParserScratch) {
        guard !labels.needsNoLabels else { return }
        for target in targets
        where !labels.isOfStream(target.name) && !labels.isMetadata(target.name) {
            labels.set(.parsed, target.name) { _ in }
        }
        line.withUnsafeBufferPointer { text in
            var scanner = LogfmtScanner(text)
            while !scanner.isAtEnd {
                guard scanner.next() else {
                    if isStrict { break }
                    continue
                }
                scratch.name.removeAll(keepingCapacity: true)
                appendSanitized(
                    UnsafeBufferPointer(rebasing: text[scanner.key]), to: &scratch.name)
                store(text, scanner, labels, &scratch)
            }
            if isStrict, let fault = scanner.faultText {
                labels.fail(EntryFailure.logfmt, fault)
            }
        }
    }

    /// A key also goes to the label of its own name, whatever key that label was given: so does Loki.
    private func store(
        _ text: UnsafeBufferPointer<UInt8>, _ scanner: LogfmtScanner, _ labels: EntryLabels,
        _ scratch: inout ParserScratch
    ) {
        var isKey = false
        for target in targets where target.key == scratch.name {
            isKey = true
            let name = labels.nameBesideOthers(target.name)
            labels.setLogfmt(name, text, scanner, &scratch, isBlanked: false)
        }
        guard !isKey else { return }
        for target in targets where target.label == scratch.name {
            let name = labels.nameBesideOthers(target.name)
            labels.setLogfmt(name, text, scanner, &scratch, isBlanked: false)
        }
    }
}

extension EntryLabels {
    /// Sets a label to a value of logfmt. Bytes that are no UTF-8 become spaces, or take the value away where it is not
    /// `isBlanked`.
    fileprivate func setLogfmt(
        _ name: Int32, _ text: UnsafeBufferPointer<UInt8>, _ scanner: LogfmtScanner,
        _ scratch: inout ParserScratch, isBlanked: Bool
    ) {
        func store(_ bytes: UnsafeBufferPointer<UInt8>) {
            if !isBlanked, hasMark(bytes) {
                set(.parsed, name) { _ in }
            } else {
                set(.parsed, name) { appendBlanked(bytes, to: &$0) }
            }
        }
        guard scanner.isEscaped else {
            store(UnsafeBufferPointer(rebasing: text[scanner.value]))
            return
        }
        scratch.text.removeAll(keepingCapacity: true)
        LogfmtScanner.appendUnescaped(text, scanner.value, to: &scratch.text)
        scratch.text.withUnsafeBufferPointer(store)
    }
}
