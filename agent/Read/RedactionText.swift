/// What the bytes around a secret say.
enum RedactionText {
    /// How long the part of a URL before its path may be.
    static let authorityBytesMax = 1024
    /// Levels of quoting: a quote in a text in a text has 3 backslashes.
    static let backslashesMax = 15
    /// How far ahead the next key is looked for.
    static let keyBytesMax = 48

    static func lower(_ byte: UInt8) -> UInt8 { (65...90).contains(byte) ? byte | 32 : byte }

    static func isAlphanumeric(_ byte: UInt8) -> Bool {
        switch byte {
        case 48...57, 65...90, 97...122: true
        default: false
        }
    }

    static func isBase64URL(_ byte: UInt8) -> Bool {
        isAlphanumeric(byte) || byte == UInt8(ascii: "_") || byte == UInt8(ascii: "-")
    }

    /// Whether a word may begin at `index`: no part of one stands before it, or what looks like one ends an escape of
    /// JSON, such as the `n` of `\n`.
    static func isBoundary(
        _ line: [UInt8], at index: Int, _ isPart: (UInt8) -> Bool = isAlphanumeric
    ) -> Bool {
        guard index > 0, isPart(line[index - 1]) else { return true }
        if index > 1, line[index - 2] == UInt8(ascii: "\\") {
            return "nrtbf".utf8.contains(line[index - 1])
        }
        return endOfEscape(line, around: index - 1) == index
    }

    /// Where the escape of `\u` and four digits ends whose digit is the byte at `index`; nil where it is in none.
    static func endOfEscape(_ line: [UInt8], around index: Int) -> Int? {
        for start in stride(from: index - 2, through: max(0, index - 5), by: -1)
        where line[start] == UInt8(ascii: "\\") && line[start + 1] == UInt8(ascii: "u") {
            let end = start + 6
            guard end <= line.count, line[(start + 2)..<end].allSatisfy(isHexadecimal) else {
                return nil
            }
            return end
        }
        return nil
    }

    private static func isHexadecimal(_ byte: UInt8) -> Bool {
        switch byte {
        case 48...57, 65...70, 97...102: true
        default: false
        }
    }

    /// Source: RFC 7235, 2.1.
    static func isToken68(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "."), UInt8(ascii: "~"), UInt8(ascii: "+"), UInt8(ascii: "/"),
            UInt8(ascii: "="):
            true
        default: isBase64URL(byte)
        }
    }

    /// Whether this is a word of a sentence: no digits, no capitals but the first, not long.
    static func isProse(_ line: [UInt8], _ range: Range<Int>) -> Bool {
        guard range.count < 32 else { return false }
        return line[range.dropFirst()].allSatisfy {
            !(48...57).contains($0) && !(65...90).contains($0)
        }
            && !(48...57).contains(line[range.lowerBound])
    }

    /// Values that are no secrets, or no longer: nothing is there, or another has taken it out before.
    static func isSafe(_ line: [UInt8], _ range: Range<Int>) -> Bool {
        if hasSafePrefix(line, range.lowerBound) { return true }
        var range = range
        if range.count > 2, let first = range.first, let last = range.last,
            line[first] == UInt8(ascii: "[") && line[last] == UInt8(ascii: "]")
                || line[first] == UInt8(ascii: "<") && line[last] == UInt8(ascii: ">")
        {
            range = (first + 1)..<last
        }
        guard range.count <= 9 else { return line[range].allSatisfy { $0 == UInt8(ascii: "*") } }
        let word = line[range].map(lower)
        return Self.safeWords.contains { $0.utf8.elementsEqual(word) }
            || word.allSatisfy { $0 == UInt8(ascii: "*") }
    }

    private static let safeWords = [
        "null", "nil", "none", "true", "false", "undefined", "redacted", "filtered", "hidden",
    ]

    /// Whether `[redacted:` stands here.
    static func hasSafePrefix(_ line: [UInt8], _ start: Int) -> Bool {
        start < line.count && line[start] == UInt8(ascii: "[")
            && line[start...].starts(with: "[redacted:".utf8)
    }

    /// Whether the token behind a scheme ends before this byte.
    static func endsToken(_ byte: UInt8) -> Bool {
        byte <= 32 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "'")
            || byte == UInt8(ascii: "\\")
    }

    /// Where the credentials of an `Authorization` header begin: behind its scheme, a word of up to 20 bytes.
    static func behindScheme(_ line: [UInt8], _ range: Range<Int>) -> Int {
        guard let blank = line[range].prefix(21).firstIndex(of: 32),
            line[range.lowerBound..<blank].allSatisfy({
                isAlphanumeric($0) || $0 == UInt8(ascii: "-")
            })
        else { return range.lowerBound }
        var start = blank
        while start < range.upperBound, line[start] == 32 { start += 1 }
        return start
    }

    /// Where the value without quotes ends that begins at `first`. Backslashes stay with the quote or letter behind them,
    /// so that no escape is broken. O(n) in the value.
    static func endOfBare(_ line: [UInt8], from first: Int) -> Int {
        var end = first
        while end < line.count, !endsBare(line, end) {
            guard line[end] == UInt8(ascii: "\\") else {
                end += 1
                continue
            }
            var behind = end
            while behind < line.count, line[behind] == UInt8(ascii: "\\") { behind += 1 }
            if behind < line.count, "nrtu\"'".utf8.contains(line[behind]) { return end }
            end = behind
        }
        return end
    }

    /// Whether a value without quotes ends before the byte at `index`. A comma, a semicolon or a closing bracket ends one
    /// where a blank, the end or the next key comes behind it: passwords have such bytes too.
    private static func endsBare(_ line: [UInt8], _ index: Int) -> Bool {
        switch line[index] {
        case 0...32, UInt8(ascii: "\""), UInt8(ascii: "'"), UInt8(ascii: "&"), UInt8(ascii: "<"),
            UInt8(ascii: ">"), UInt8(ascii: "`"):
            return true
        case UInt8(ascii: "]"), UInt8(ascii: "}"), UInt8(ascii: ")"):
            guard index + 1 < line.count else { return true }
            return !isAlphanumeric(line[index + 1])
        case UInt8(ascii: ","), UInt8(ascii: ";"):
            return isKeyBehind(line, index + 1)
        default: return false
        }
    }

    private static func isKeyBehind(_ line: [UInt8], _ start: Int) -> Bool {
        var index = start
        guard index < line.count else { return true }
        if line[index] <= 32 || line[index] == UInt8(ascii: "\"") { return true }
        let end = min(line.count, start + keyBytesMax)
        while index < end, isKeyByte(line[index]) { index += 1 }
        return index > start && index < line.count
            && (line[index] == UInt8(ascii: "=") || line[index] == UInt8(ascii: ":"))
    }

    static func isKeyByte(_ byte: UInt8) -> Bool { isBase64URL(byte) || byte == UInt8(ascii: ".") }
}

/// A key that a secret stands behind.
struct RedactionKey {
    let rule: BuiltInRedaction
    /// Whether the key stands in quotes that no backslash escapes.
    let isJSON: Bool
    /// Whether there is a blank before the separator.
    let hasBlank: Bool
    /// Whether the key stands in quotes.
    let isQuoted: Bool
    /// Where the word of the key begins.
    let start: Int
    private let isWholeWord: Bool
    private let kind: Kind

    var isAuthorization: Bool { kind == .authorization }
    /// Whether a header has this name, whose value may have blanks.
    var isHeader: Bool { kind == .authorization || kind == .cookie }

    /// Whether a value that begins with `first` is the folder of the environment's PWD.
    func isFolder(_ first: UInt8) -> Bool {
        isWholeWord && kind == .folder && first == UInt8(ascii: "/")
    }

    /// The key that ends before the separator at `separator`; nil where there is none or it is a harmless one.
    /// Looks back at most `RedactionText.keyBytesMax` bytes and what quotes and blanks take.
    init?(_ line: [UInt8], before separator: Int) {
        var end = separator
        while end > 0, separator - end < 4, line[end - 1] == 32 { end -= 1 }
        hasBlank = end < separator
        var backslashes = 0
        var isQuoted = false
        if end > 0, line[end - 1] == UInt8(ascii: "\"") || line[end - 1] == UInt8(ascii: "'") {
            isQuoted = true
            end -= 1
            while end > 0, line[end - 1] == UInt8(ascii: "\\"),
                backslashes < RedactionText.backslashesMax
            {
                end -= 1
                backslashes += 1
            }
        }
        guard end > 0, let found = Self.find(line, end) else { return nil }
        self.isQuoted = isQuoted
        isJSON =
            isQuoted && backslashes == 0 && line[separator] == UInt8(ascii: ":")
            && line[end] == UInt8(ascii: "\"")
        kind = found.word.kind
        rule = found.word.rule
        start = found.start
        isWholeWord = found.isWhole
    }

    /// Whether what stands bare behind the key is its value: sentences and counters have such words too.
    func isPlausible(_ line: [UInt8], _ value: Range<Int>, separator: Int) -> Bool {
        // Tests count what they pass.
        if isWholeWord, kind == .counter, line[value].allSatisfy({ (48...57).contains($0) }) {
            return false
        }
        // "unexpected token: name".
        guard kind == .token, !isQuoted, line[separator] == UInt8(ascii: ":") else { return true }
        return Self.isRandom(line, value)
    }

    /// Whether what stands in quotes behind the key and a blank is its value: `secret "name" not found`.
    func isPlausible(_ line: [UInt8], quoted value: Range<Int>) -> Bool {
        rule == .password || Self.isRandom(line, value)
    }

    private static func isRandom(_ line: [UInt8], _ value: Range<Int>) -> Bool {
        value.count >= 20 || line[value].contains { (48...57).contains($0) }
    }

    private enum Kind { case plain, authorization, cookie, folder, counter, token }

    private struct Word {
        let text: StaticString
        let rule: BuiltInRedaction
        /// A short word counts only where a word begins with it: `bypass` is no `pass`.
        var isShort = false
        var kind = Kind.plain
    }

    /// By their last two letters, which are looked at first.
    private static func words(endingIn last: UInt8, behind letter: UInt8) -> [Word] {
        switch (letter, last) {
        case (UInt8(ascii: "r"), UInt8(ascii: "d")), (UInt8(ascii: "w"), UInt8(ascii: "d")): wordsD
        case (UInt8(ascii: "i"), UInt8(ascii: "d")): wordsID
        case (UInt8(ascii: "s"), UInt8(ascii: "e")), (UInt8(ascii: "d"), UInt8(ascii: "e")),
            (UInt8(ascii: "i"), UInt8(ascii: "e")):
            wordsE
        case (UInt8(ascii: "s"), UInt8(ascii: "s")): wordsS
        case (UInt8(ascii: "e"), UInt8(ascii: "t")): wordsT
        case (UInt8(ascii: "e"), UInt8(ascii: "y")): wordsY
        case (UInt8(ascii: "e"), UInt8(ascii: "n")), (UInt8(ascii: "o"), UInt8(ascii: "n")): wordsN
        default: []
        }
    }

    private static let wordsD = [
        Word(text: "password", rule: .password), Word(text: "passwd", rule: .password),
        Word(text: "pwd", rule: .password, isShort: true, kind: .folder),
    ]
    /// The cookies of Java and PHP; `session_id` is no secret in PostgreSQL's log and others.
    private static let wordsID = [
        Word(text: "jsessionid", rule: .secret), Word(text: "sessid", rule: .secret),
    ]
    private static let wordsE = [
        Word(text: "passphrase", rule: .password), Word(text: "passcode", rule: .password),
        Word(text: "cookie", rule: .secret, kind: .cookie),
    ]
    private static let wordsS = [
        Word(text: "pass", rule: .password, isShort: true, kind: .counter)
    ]
    private static let wordsT = [Word(text: "secret", rule: .secret)]
    private static let wordsY = [
        Word(text: "apikey", rule: .secret), Word(text: "secretkey", rule: .secret),
        Word(text: "accesskey", rule: .secret), Word(text: "privatekey", rule: .secret),
        Word(text: "authkey", rule: .secret), Word(text: "signingkey", rule: .secret),
        Word(text: "encryptionkey", rule: .secret), Word(text: "masterkey", rule: .secret),
    ]
    private static let wordsN = [
        Word(text: "token", rule: .secret, isShort: true, kind: .token),
        Word(text: "authorization", rule: .secret, kind: .authorization),
    ]

    /// The word that the key which ends before `end` ends with.
    private static func find(
        _ line: [UInt8], _ end: Int
    ) -> (word: Word, start: Int, isWhole: Bool)? {
        guard end > 1 else { return nil }
        let words = words(
            endingIn: RedactionText.lower(line[end - 1]),
            behind: RedactionText.lower(line[end - 2]))
        for word in words {
            guard let start = start(of: word.text, in: line, endingAt: end) else { continue }
            let isFirst = RedactionText.isBoundary(line, at: start)
            // `dbPass`: a capital behind a small letter begins a word.
            let isCamel =
                start > 0 && (65...90).contains(line[start]) && !(65...90).contains(line[start - 1])
            guard !word.isShort || isFirst || isCamel else { continue }
            let isWhole = RedactionText.isBoundary(line, at: start, RedactionText.isKeyByte)
            return (word, start, isWhole)
        }
        return nil
    }

    /// Where `word` begins that ends before `end`, in any case and with `_`, `-` and `.` between its letters.
    private static func start(of word: StaticString, in line: [UInt8], endingAt end: Int) -> Int? {
        var index = end
        var letter = word.utf8CodeUnitCount
        let limit = max(0, end - RedactionText.keyBytesMax)
        while letter > 0 {
            guard index > limit else { return nil }
            let byte = RedactionText.lower(line[index - 1])
            if byte == word.utf8Start[letter - 1] {
                letter -= 1
            } else if letter == word.utf8CodeUnitCount || !isSeparator(byte) {
                return nil
            }
            index -= 1
        }
        return index
    }

    private static func isSeparator(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: "_") || byte == UInt8(ascii: "-") || byte == UInt8(ascii: ".")
    }
}

/// Numbers of payment cards.
enum CardNumber {
    static let digitsMin = 13
    private static let digitsMax = 19

    static func isRunByte(_ byte: UInt8) -> Bool {
        (48...57).contains(byte) || byte == 32 || byte == UInt8(ascii: "-")
    }

    /// The cards in a run of digits, blanks and dashes that `run` is as a whole: numbers without gaps, and those in the
    /// groups that cards are printed with. O(n).
    static func find(_ line: [UInt8], in run: Range<Int>) -> [Range<Int>] {
        var found: [Range<Int>] = []
        var index = run.lowerBound
        while index < run.upperBound {
            guard (48...57).contains(line[index]) else {
                index += 1
                continue
            }
            if let end = RedactionText.endOfEscape(line, around: index) {
                index = end
                continue
            }
            var end = index
            while end < run.upperBound, (48...57).contains(line[end]) { end += 1 }
            var candidate = index..<end
            if end - index == 4 {
                candidate = grouped(line, from: index, to: run.upperBound) ?? candidate
            }
            if isFree(line, candidate), isCard(line, candidate) {
                found.append(candidate)
                index = candidate.upperBound
            } else {
                index = end
            }
        }
        return found
    }

    /// 4-4-4-4, 4-4-4-4-3, 4-6-5 and 4-6-4, all with the same sign between.
    private static func grouped(_ line: [UInt8], from start: Int, to limit: Int) -> Range<Int>? {
        var end = start + 4
        guard end < limit else { return nil }
        let sign = line[end]
        // The groups' lengths as one decimal number.
        var shape = 4
        var found: Range<Int>?
        while shape < 10_000, end + 1 < limit, line[end] == sign {
            var next = end + 1
            while next < limit, next - end <= 7, (48...57).contains(line[next]) { next += 1 }
            shape = shape * 10 + next - end - 1
            end = next
            switch shape {
            case 44, 46, 444: continue
            case 464, 465, 4444, 44443: if isCard(line, start..<end) { found = start..<end }
            default: return found
            }
        }
        return found
    }

    /// Whether the number stands for itself: part of no name, no decimal, no hexadecimal number.
    private static func isFree(_ line: [UInt8], _ range: Range<Int>) -> Bool {
        let isFirst = RedactionText.isBoundary(line, at: range.lowerBound) {
            RedactionText.isKeyByte($0) && $0 != UInt8(ascii: "-")
        }
        guard isFirst else { return false }
        guard range.upperBound < line.count else { return true }
        let behind = line[range.upperBound]
        if RedactionText.isAlphanumeric(behind) || behind == UInt8(ascii: "_") { return false }
        guard behind == UInt8(ascii: "."), range.upperBound + 1 < line.count else { return true }
        return !(48...57).contains(line[range.upperBound + 1])
    }

    /// Whether a scheme has such numbers and the check digit is right.
    /// Source: ISO/IEC 7812-1, annex B (Luhn); the schemes' ranges of issuers.
    private static func isCard(_ line: [UInt8], _ range: Range<Int>) -> Bool {
        guard range.count >= digitsMin, range.count <= digitsMax + 4 else { return false }
        var sum = 0
        var count = 0
        var prefix = 0
        var isAllSame = true
        var first: UInt8 = 0
        for index in range where (48...57).contains(line[index]) {
            if count < 4 { prefix = prefix * 10 + Int(line[index] - 48) }
            if count == 0 { first = line[index] }
            if line[index] != first { isAllSame = false }
            count += 1
        }
        guard count >= digitsMin, count <= digitsMax, !isAllSame, isIssued(prefix, count) else {
            return false
        }
        var isDoubled = false
        for index in range.reversed() where (48...57).contains(line[index]) {
            let digit = Int(line[index] - 48)
            sum += isDoubled ? (digit > 4 ? 2 * digit - 9 : 2 * digit) : digit
            isDoubled.toggle()
        }
        return sum.isMultiple(of: 10)
    }

    /// By the first four digits: Visa, Mastercard, American Express, Discover, JCB, Diners Club, UnionPay.
    private static func isIssued(_ prefix: Int, _ count: Int) -> Bool {
        switch prefix {
        case 4000...4999: count == 13 || count == 16 || count == 19
        case 5100...5599, 2221...2720: count == 16
        case 3400...3499, 3700...3799: count == 15
        case 6011, 6440...6599, 3528...3589: count == 16
        case 3000...3059, 3600...3699, 3800...3999: count == 14
        case 6200...6299: (16...19).contains(count)
        default: false
        }
    }
}
