/// Finds secrets in a line by what they look like, in one pass and without regular expressions.
///
/// A table says of each byte whether a secret may begin or end there (`:`, `=`, a blank, a quote, `$`, `_`, `-`, the `J`
/// of `eyJ`); at all others the pass goes on at once. At such a byte the few bytes before it decide: a key such as
/// `password`, the word `Bearer`, a token's prefix. What was found is not looked at again, so that the pass stays linear:
/// what is looked back at and ahead is bounded. Card numbers are found by leaps of 13 bytes, the length of the shortest.
/// Not copied, so that `matches` grows in place.
struct RedactionScan: ~Copyable {
    /// What is to be taken out of a line.
    struct Match: Hashable {
        var range: Range<Int>
        /// Index of the rule.
        var rule: Int
        /// Whether the value is a bare one of JSON, for which a text has to stand.
        var isBareJSON = false
    }

    let line: [UInt8]
    private let isOn: [Bool]
    private(set) var matches: [Match] = []
    /// Read up to the last place that was asked for.
    var quotes = QuoteLevels()
    /// Up to here nothing ends the element of a list.
    private var elementsEnd = 0

    /// Rules that find nothing where `isOn`, by `BuiltInRedaction.rawValue`, is false.
    init(_ line: [UInt8], isOn: [Bool]) {
        self.line = line
        self.isOn = isOn
    }

    /// Finds all of a line, in ascending order; matches of cards may overlap others.
    mutating func run() {
        var index = nextTrigger(from: 1)
        while index < line.count { index = nextTrigger(from: visit(index, line[index])) }
        if isOn[BuiltInRedaction.card.rawValue] { findCards() }
    }

    /// The first byte from `start`, which is at least 1, that may be a trigger; the line's length where there is none.
    private func nextTrigger(from start: Int) -> Int {
        let (triggers, endings) = (Self.triggers, Self.endings)
        precondition(start >= 1 && triggers.count == 256 && endings.count == 256, "kernel bounds")
        return line.withUnsafeBufferPointer { line in
            triggers.withUnsafeBufferPointer { triggers in
                endings.withUnsafeBufferPointer { endings in
                    var index = start
                    while index < line.count {
                        let trigger = triggers[Int(line[index])]
                        if trigger != 0 {
                            // Most are none: the byte before tells, or the one before a quote.
                            var before = line[index - 1]
                            if trigger == Trigger.separator, before == UInt8(ascii: "\""), index > 1
                            {
                                before = line[index - 2]
                            }
                            if endings[Int(before)] & trigger != 0 { return index }
                            if trigger == Trigger.separator, index + 1 < line.count,
                                line[index + 1] == UInt8(ascii: "/")
                                    || line[index + 1] == UInt8(ascii: "\\")
                            {
                                return index
                            }
                        }
                        index += 1
                    }
                    return line.count
                }
            }
        }
    }

    /// What a byte may be the trigger of, as bits.
    private enum Trigger {
        static let separator: UInt8 = 1
        static let blank: UInt8 = 2
        static let webToken: UInt8 = 4
        static let prefix: UInt8 = 8
        static let quote: UInt8 = 16
    }

    private static let triggers: [UInt8] = {
        var triggers = [UInt8](repeating: 0, count: 256)
        for byte in ":=".utf8 { triggers[Int(byte)] = Trigger.separator }
        for byte in "_-".utf8 { triggers[Int(byte)] = Trigger.prefix }
        for byte in "\"'$".utf8 { triggers[Int(byte)] = Trigger.quote }
        triggers[32] = Trigger.blank
        triggers[Int(UInt8(ascii: "J"))] = Trigger.webToken
        return triggers
    }()

    /// The triggers that may follow a byte: last letters of keys, schemes and prefixes; of keys what stands between too.
    private static let endings: [UInt8] = {
        var endings = [UInt8](repeating: 0, count: 256)
        for byte in "destynDESTYN \"'\\".utf8 { endings[Int(byte)] |= Trigger.separator }
        for byte in "rRcC".utf8 { endings[Int(byte)] |= Trigger.blank }
        for byte in " EeNn\\".utf8 { endings[Int(byte)] |= Trigger.quote }
        endings[Int(UInt8(ascii: "-"))] |= Trigger.prefix
        endings[Int(UInt8(ascii: "y"))] |= Trigger.webToken
        for (prefix, _) in prefixes {
            let start = prefix.utf8Start
            endings[Int(start[prefix.utf8CodeUnitCount - 2])] |= Trigger.prefix
        }
        return endings
    }()

    /// What begins or ends at the trigger; returns where the pass goes on, behind `index`.
    private mutating func visit(_ index: Int, _ byte: UInt8) -> Int {
        switch byte {
        case 32:
            guard index >= 5, let last = lower(index - 1), last == 114 || last == 99 else {
                return index + 1
            }
            return visitScheme(index)
        case UInt8(ascii: ":"):
            if let authority = authorityStart(index) { return visitURL(authority) }
            return visitKey(index)
        case UInt8(ascii: "="): return visitKey(index)
        case UInt8(ascii: "J"):
            guard index >= 2, line[index - 1] == UInt8(ascii: "y"),
                line[index - 2] == UInt8(ascii: "e")
            else { return index + 1 }
            return visitJWT(index - 2)
        case UInt8(ascii: "\""), UInt8(ascii: "'"), UInt8(ascii: "$"): return visitQuote(index)
        case UInt8(ascii: "-") where line[index - 1] == UInt8(ascii: "-"):
            return visitFlag(index + 1)
        default: return visitPrefix(index)
        }
    }

    private mutating func add(_ rule: BuiltInRedaction, _ range: Range<Int>, isBare: Bool = false) {
        guard isOn[rule.rawValue], !range.isEmpty, !RedactionText.isSafe(line, range) else {
            return
        }
        matches.append(Match(range: range, rule: rule.rawValue, isBareJSON: isBare))
    }

    /// The byte at `index` in lower case; nil outside the line.
    private func lower(_ index: Int) -> UInt8? {
        guard index >= 0, index < line.count else { return nil }
        return RedactionText.lower(line[index])
    }

    /// Whether the bytes that end before `end` are `word`, in any case, and no letter or digit stands before them.
    private func isWord(_ word: StaticString, endingAt end: Int) -> Bool {
        let start = end - word.utf8CodeUnitCount
        guard start >= 0 else { return false }
        for offset in 0..<word.utf8CodeUnitCount
        where RedactionText.lower(line[start + offset]) != word.utf8Start[offset] { return false }
        return RedactionText.isBoundary(line, at: start)
    }

    // MARK: - Bearer, Basic, tokens

    /// `Bearer TOKEN`, `Basic TOKEN`. Source: RFC 6750, RFC 7617.
    private mutating func visitScheme(_ space: Int) -> Int {
        guard isWord("bearer", endingAt: space) || isWord("basic", endingAt: space) else {
            return space + 1
        }
        var start = space
        while start < line.count, line[start] == 32 { start += 1 }
        var end = start
        while end < line.count, RedactionText.isToken68(line[end]) { end += 1 }
        // "Basic authentication failed." is no secret.
        guard end - start >= 8, !RedactionText.isProse(line, start..<end) else { return start }
        add(.bearer, start..<end)
        return end
    }

    /// `eyJ….….…`. Source: RFC 7519.
    private mutating func visitJWT(_ start: Int) -> Int {
        let next = start + 3
        guard RedactionText.isBoundary(line, at: start, RedactionText.isBase64URL) else {
            return next
        }
        var end = start
        var parts = 0
        while true {
            let partStart = end
            while end < line.count, RedactionText.isBase64URL(line[end]) { end += 1 }
            guard end - partStart >= 10 || (parts == 2 && end > partStart) else { break }
            parts += 1
            guard parts < 5, end + 1 < line.count, line[end] == UInt8(ascii: "."),
                RedactionText.isBase64URL(line[end + 1])
            else { break }
            end += 1
        }
        guard parts >= 2 else { return next }
        add(.jwt, start..<end)
        return end
    }

    /// Tokens that say by their first letters whose they are, such as `ghp_…` and `xoxb-…`; `index` is at the separator.
    private mutating func visitPrefix(_ index: Int) -> Int {
        for (prefix, bytesMin) in Self.prefixes
        where prefix.utf8Start[prefix.utf8CodeUnitCount - 1] == line[index] {
            let count = prefix.utf8CodeUnitCount
            let start = index + 1 - count
            guard start >= 0,
                RedactionText.isBoundary(line, at: start, RedactionText.isBase64URL)
            else { continue }
            guard (0..<count).allSatisfy({ line[start + $0] == prefix.utf8Start[$0] }) else {
                continue
            }
            var end = index + 1
            var hasDigit = false
            while end < line.count, RedactionText.isBase64URL(line[end]) {
                if (48...57).contains(line[end]) { hasDigit = true }
                end += 1
            }
            guard hasDigit, end - index > bytesMin else { return index + 1 }
            add(.apiKey, start..<end)
            return end
        }
        return index + 1
    }

    /// Prefixes and how many bytes come behind at least. Sources: GitHub "token formats"; GitLab "token prefixes"; Slack
    /// "token types"; Stripe "API keys"; OpenAI's and Anthropic's `sk-`.
    private static let prefixes: [(StaticString, Int)] = [
        ("ghp_", 30), ("gho_", 30), ("ghu_", 30), ("ghs_", 30), ("ghr_", 30), ("github_pat_", 30),
        ("sk_live_", 16), ("rk_live_", 16), ("sk_test_", 16), ("whsec_", 16), ("glpat-", 16),
        ("xoxb-", 16), ("xoxp-", 16), ("xoxa-", 16), ("xoxs-", 16), ("sk-", 20),
    ]

    // MARK: - Passwords in URLs

    /// Where the authority of a URL begins whose colon is at `index`; JSON's `:\/\/` counts too.
    private func authorityStart(_ index: Int) -> Int? {
        var next = index + 1
        for _ in 0..<2 {
            if next < line.count, line[next] == UInt8(ascii: "\\") { next += 1 }
            guard next < line.count, line[next] == UInt8(ascii: "/") else { return nil }
            next += 1
        }
        return next
    }

    /// `scheme://user:password@host`: the password is what stands between the first colon and the last `@`. A slash in it
    /// is one of the password where what stands before it can be no port. Source: RFC 3986, 3.2.
    private mutating func visitURL(_ start: Int) -> Int {
        var colon: Int?
        var at: Int?
        var index = start
        var isPath = false
        let end = min(line.count, start + RedactionText.authorityBytesMax)
        scan: while index < end {
            switch line[index] {
            case UInt8(ascii: "[") where RedactionText.hasSafePrefix(line, index):
                // What was taken out before has a colon.
                while index < end, line[index] != UInt8(ascii: "]") { index += 1 }
                continue
            case UInt8(ascii: ":"):
                if isPath, index + 1 < end, line[index + 1] == UInt8(ascii: "/") { break scan }
                if colon == nil, !isPath { colon = index }
            case UInt8(ascii: "@"):
                at = index
                if isPath { break scan }
            case UInt8(ascii: "/"), UInt8(ascii: "?"), UInt8(ascii: "#"):
                guard at == nil, let colon, line[start] != UInt8(ascii: "["),
                    line[(colon + 1)..<index].contains(where: { !(48...57).contains($0) })
                else { break scan }
                isPath = true
            case 0...32, UInt8(ascii: "\""), UInt8(ascii: "'"), UInt8(ascii: "<"),
                UInt8(ascii: ">"), UInt8(ascii: "`"), UInt8(ascii: "\\"):
                break scan
            default: break
            }
            index += 1
        }
        guard let colon, let at, colon < at else { return start }
        add(.urlPassword, (colon + 1)..<at)
        return at
    }

    // MARK: - Keys and values

    /// `key=value`, `key: value`, `"key":"value"`, at the `=` or `:`.
    private mutating func visitKey(_ index: Int) -> Int {
        guard let key = RedactionKey(line, before: index), isOn[key.rule.rawValue] else {
            return index + 1
        }
        var start = index + 1
        if start < line.count {
            // `=>`, `:=`, `==`; with a blank before the last compares.
            let isEqual = line[start] == UInt8(ascii: "=")
            let isAssigned = line[index] == UInt8(ascii: "=")
            if isEqual, isAssigned, key.hasBlank { return start + 1 }
            if isEqual || isAssigned && line[start] == UInt8(ascii: ">") { start += 1 }
        }
        if key.hasBlank || line[index] == UInt8(ascii: ":") {
            while start < line.count, line[start] == 32 || line[start] == 9 { start += 1 }
        }
        guard start < line.count else { return index + 1 }
        if line[start] == UInt8(ascii: "["), !RedactionText.hasSafePrefix(line, start) {
            return visitList(start, key, separator: index)
        }
        if let (value, next) = quotedValue(at: behindWrapper(start), isOpening: key.isQuoted) {
            let isPart = key.isHeader && next < line.count && line[next] == UInt8(ascii: ";")
            if !isPart {
                add(key, value)
                return next
            }
        }
        return visitBare(start, key, separator: index)
    }

    /// `PASSWORD 'value'`, as SQL has it; `quote` is at what opens the value, a dollar too.
    private mutating func visitQuote(_ quote: Int) -> Int {
        var before = quote
        while before > 0, line[before - 1] == UInt8(ascii: "\\"),
            quote - before < RedactionText.backslashesMax
        { before -= 1 }
        let backslashes = quote - before
        // PostgreSQL's E'…', MySQL's N'…'.
        if before > 1, let letter = lower(before - 1), letter == 101 || letter == 110 {
            before -= 1
        }
        guard before > 1, line[before - 1] == 32 else { return quote + 1 }
        let key = RedactionKey(line, before: before)
        guard let rule = key.map({ $0.isQuoted ? nil : $0.rule }) ?? identifiedBy(before),
            isOn[rule.rawValue], line[quote] == UInt8(ascii: "$") || opensText(quote)
        else { return quote + 1 }
        var (value, next) = (quote..<quote, quote + 1)
        if line[quote] == UInt8(ascii: "$") {
            guard let dollar = dollarQuoted(from: quote) else { return next }
            (value, next) = dollar
        } else {
            if let key, next < line.count, key.isFolder(line[next]) { return next }
            (value, next) = quoted(from: quote, backslashes: backslashes)
            // SQL doubles a quote inside.
            while backslashes == 0, next < line.count, line[next] == line[quote] {
                let (more, end) = quoted(from: next, backslashes: backslashes)
                (value, next) = (value.lowerBound..<more.upperBound, end)
            }
        }
        // What is not plausible is short, so that reading it again is cheap.
        if let key, !key.isPlausible(line, quoted: value) { return quote + 1 }
        add(rule, value)
        return next
    }

    /// The rule for what stands behind `IDENTIFIED BY`, or `IDENTIFIED WITH plugin BY`, which ends in blanks before `end`.
    private func identifiedBy(_ end: Int) -> BuiltInRedaction? {
        var end = end
        while end > 0, line[end - 1] == 32 { end -= 1 }
        guard isWord("by", endingAt: end) else { return nil }
        let isIdentified = (max(0, end - 64)..<end).contains {
            isWord("identified", endingAt: $0)
        }
        return isIdentified ? .password : nil
    }

    /// `--password value`, the name of the flag at `start`.
    private mutating func visitFlag(_ start: Int) -> Int {
        var end = start
        while end < line.count, end - start < RedactionText.keyBytesMax,
            RedactionText.isKeyByte(line[end]), line[start] != UInt8(ascii: "-")
        { end += 1 }
        guard end > start, end < line.count, line[end] == 32,
            let key = RedactionKey(line, before: end), isOn[key.rule.rawValue]
        else { return start }
        var first = end
        while first < line.count, line[first] == 32 { first += 1 }
        guard first < line.count, line[first] != UInt8(ascii: "-") else { return end }
        if let (value, next) = quotedValue(at: first, isOpening: false) {
            add(key, value)
            return next
        }
        end = RedactionText.endOfBare(line, from: first)
        add(key.rule, first..<end)
        return end
    }

    /// The elements of a list, as headers are in JSON and in Go: `["…","…"]`, `[… …]`.
    private mutating func visitList(_ bracket: Int, _ key: RedactionKey, separator: Int) -> Int {
        var index = bracket + 1
        while index < line.count {
            if line[index] == 32 || line[index] == UInt8(ascii: ",") {
                index += 1
            } else if let (value, next) = quotedValue(at: index, isOpening: true) {
                add(key, value)
                index = next
                // A quote here closes the text that the list is in.
                guard index < line.count,
                    line[index] == 32 || line[index] == UInt8(ascii: ",")
                        || closesList(index)
                else { return index }
            } else if closesList(index) {
                return index + 1
            } else if key.isQuoted,
                line[index] == UInt8(ascii: "{") || line[index] == UInt8(ascii: "[")
            {
                return index
            } else if let end = endOfElement(index) {
                let element = index..<end
                if key.isPlausible(line, element, separator: separator) {
                    add(key, element, isBare: key.isJSON)
                }
                index = end
            } else {
                // None closes it: the bracket is one of the value.
                return visitBare(index == bracket + 1 ? bracket : index, key, separator: separator)
            }
        }
        return index
    }

    /// Where the element without quotes at `start` ends, before a comma or the list's end; nil where neither comes.
    private mutating func endOfElement(_ start: Int) -> Int? {
        guard start >= elementsEnd else { return nil }
        var index = start
        while index < line.count, line[index] != UInt8(ascii: "\""), line[index] != 10,
            line[index] != 13
        {
            if line[index] == UInt8(ascii: ",") || closesList(index) { return index }
            index += 1
        }
        elementsEnd = index
        return nil
    }

    private func closesList(_ index: Int) -> Bool {
        line[index] == UInt8(ascii: "]")
            && (index + 1 == line.count || !RedactionText.isAlphanumeric(line[index + 1]))
    }

    /// A value without quotes, at `first`.
    private mutating func visitBare(_ first: Int, _ key: RedactionKey, separator: Int) -> Int {
        switch line[first] {
        // An object; `password::hash` is a name.
        case UInt8(ascii: "{") where key.isQuoted: return first
        case UInt8(ascii: ":") where first == separator + 1 && line[separator] == line[first]:
            return first
        case UInt8(ascii: "{"), UInt8(ascii: ":"), UInt8(ascii: "="), UInt8(ascii: "&"),
            UInt8(ascii: ","), UInt8(ascii: ";"), UInt8(ascii: ")"):
            if key.rule != .password { return first }
        default: break
        }
        guard !key.isFolder(line[first]) else { return first }
        var end = first
        if key.isHeader, !key.isQuoted, line[separator] == UInt8(ascii: ":") {
            if key.isAuthorization, let token = bearerToken(first) {
                add(.bearer, token)
                return token.upperBound
            }
            let behind = endOfHeader(first, key)
            end = behind
            while end > first, line[end - 1] == 32 { end -= 1 }
            add(key, first..<end)
            return max(behind, first + 1)
        }
        end = RedactionText.endOfBare(line, from: first)
        guard end > first, key.isPlausible(line, first..<end, separator: separator) else {
            return first
        }
        add(key.rule, first..<end, isBare: key.isJSON)
        return end
    }

    /// Where the value of a header ends: with the line, or before the quote that the header as a whole stands in. A single
    /// quote counts where the header begins behind it: others are apostrophes.
    private mutating func endOfHeader(_ first: Int, _ key: RedactionKey) -> Int {
        quotes.read(line, to: key.start)
        var name = key.start
        while name > 0, key.start - name < RedactionText.keyBytesMax,
            RedactionText.isKeyByte(line[name - 1])
        { name -= 1 }
        let isSingle = name > 0 && line[name - 1] == UInt8(ascii: "'")
        var backslashes = 0
        var index = first
        while index < line.count {
            switch line[index] {
            case 10, 13: return index
            case UInt8(ascii: "\\"):
                backslashes += 1
                index += 1
                continue
            case UInt8(ascii: "n"), UInt8(ascii: "r"):
                if backslashes > 0 { return index - backslashes }
            case UInt8(ascii: "\""):
                if quotes.isOpen(backslashes) { return index - backslashes }
            case UInt8(ascii: "'"):
                if isSingle { return index - backslashes }
            default: break
            }
            backslashes = 0
            index += 1
        }
        return index
    }

    /// The value of `key` in quotes; of an `Authorization` what stands behind the scheme.
    private mutating func add(_ key: RedactionKey, _ value: Range<Int>, isBare: Bool = false) {
        guard key.isAuthorization else { return add(key.rule, value, isBare: isBare) }
        if let token = bearerToken(value.lowerBound) {
            add(.bearer, token.lowerBound..<max(token.lowerBound, value.upperBound))
        } else {
            add(key.rule, RedactionText.behindScheme(line, value)..<value.upperBound)
        }
    }

    /// The one token of `Bearer TOKEN` and `Basic TOKEN` at `start`; nil for other schemes, and where the rule is off.
    private func bearerToken(_ start: Int) -> Range<Int>? {
        guard isOn[BuiltInRedaction.bearer.rawValue] else { return nil }
        for (word, count) in [("bearer" as StaticString, 6), ("basic", 5)] {
            var index = start + count
            guard index < line.count, line[index] == 32, isWord(word, endingAt: index) else {
                continue
            }
            while index < line.count, line[index] == 32 { index += 1 }
            var end = index
            while end < line.count, !RedactionText.endsToken(line[end]) { end += 1 }
            return end > index ? index..<end : nil
        }
        return nil
    }

    // MARK: - Cards

    /// Runs of digits, blanks and dashes of 13 bytes and more.
    private mutating func findCards() {
        var start = 0
        var places = JSONPlaces()
        while let run = nextRun(from: start) {
            start = run.upperBound
            for range in CardNumber.find(line, in: run) {
                matches.append(
                    Match(
                        range: range, rule: BuiltInRedaction.card.rawValue,
                        isBareJSON: places.isValue(line, range)))
            }
        }
    }

    /// The next run of digits, blanks and dashes that is long enough for a card, as a whole. Nothing of a run stands
    /// before `start`.
    private func nextRun(from start: Int) -> Range<Int>? {
        line.withUnsafeBufferPointer { line in
            var index = start
            while index + CardNumber.digitsMin <= line.count {
                var back = index + CardNumber.digitsMin - 1
                while back >= index, CardNumber.isRunByte(line[back]) { back -= 1 }
                guard back < index else {
                    index = back + 1
                    continue
                }
                var end = index + CardNumber.digitsMin
                while end < line.count, CardNumber.isRunByte(line[end]) { end += 1 }
                return index..<end
            }
            return nil
        }
    }
}
