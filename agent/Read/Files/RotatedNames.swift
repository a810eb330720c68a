import Model

/// The names that rotation gives to the files of a log, and the order of these files.
enum RotatedNames {
    /// Endings of compressed files.
    static let endings: [(ending: String, form: RotatedFile.Form)] = [
        (".gz", .gzip), (".xz", .unreadable), (".zst", .unreadable), (".bz2", .unreadable),
        (".lz4", .unreadable), (".Z", .unreadable),
    ]

    /// A number of fewer digits counts rotations; one of more is a date or a time.
    private static let dateDigits = 6

    /// A name without the ending of compression.
    static func uncompressed(_ name: String) -> (name: String, form: RotatedFile.Form) {
        for (ending, form) in endings where name.hasSuffix(ending) {
            return (String(name.dropLast(ending.count)), form)
        }
        return (name, .plain)
    }

    /// What `other` has behind `name` where rotation gave it: `.N`, `-DATE`, with or without compression.
    static func suffix(
        _ other: String, of name: String
    ) -> (stem: String, form: RotatedFile.Form)? {
        guard other.utf8.count > name.utf8.count + 1, other.hasPrefix(name) else { return nil }
        let (plain, form) = uncompressed(other)
        let suffix = plain.dropFirst(name.count)
        guard let first = suffix.first, first == "." || first == "-", isStamp(suffix.dropFirst())
        else { return nil }
        return (String(suffix), form)
    }

    /// `suffix`, or what stands before the ending of `name`: `app.1.log` and `app-20261126.log` of logrotate's
    /// `extension`, lumberjack's `app-2026-11-26T18-00-00.000.log`, log4j's and logback's `app.2026-11-26.0.log`. A
    /// short number behind a dash (`worker-2.log`) may as well be another program's log and is none.
    static func rotation(
        _ other: String, of name: String
    ) -> (stem: String, form: RotatedFile.Form)? {
        if let found = suffix(other, of: name) { return found }
        guard let dot = name.lastIndex(of: "."), dot != name.startIndex else { return nil }
        let (base, ending) = (name[..<dot], name[dot...])
        let (plain, form) = uncompressed(other)
        guard plain.utf8.count > name.utf8.count, plain.hasPrefix(base), plain.hasSuffix(ending)
        else { return nil }
        let middle = plain.dropFirst(base.count).dropLast(ending.count)
        let stamp = middle.drop { $0 == "." || $0 == "-" || $0 == "_" }
        guard stamp.startIndex != middle.startIndex, isStamp(stamp),
            middle.first == "." || stamp.count(where: isDigit) >= dateDigits
        else { return nil }
        return (String(middle + ending), form)
    }

    private static func isDigit(_ character: Character) -> Bool {
        ("0"..."9").contains(character)
    }

    private static func isStamp(_ text: Substring) -> Bool {
        guard let first = text.first, isDigit(first) else { return false }
        return text.allSatisfy { isDigit($0) || "-._:TZ".contains($0) }
    }

    /// A name with `#` for each number: names of one shape come from one rotation.
    static func shape(_ stem: String) -> String {
        var shape = ""
        for character in stem {
            guard isDigit(character) else {
                shape.append(character)
                continue
            }
            if shape.last != "#" { shape.append("#") }
        }
        return shape
    }

    /// The numbers of a name, without leading zeros.
    static func numbers(_ stem: String) -> [Substring] {
        stem.split { !isDigit($0) }.map { run in
            let number = run.drop { $0 == "0" }
            return number.isEmpty ? run.suffix(1) : number
        }
    }

    /// Whether the numbers of one name are less than those of another.
    static func precede(_ a: String, _ b: String) -> Bool {
        let (first, second) = (numbers(a), numbers(b))
        for (one, two) in zip(first, second) where one != two {
            if one.count != two.count { return one.count < two.count }
            return bytesPrecede(String(one), String(two))
        }
        if first.count != second.count { return first.count < second.count }
        return bytesPrecede(a, b)
    }

    /// What the numbers of a name say about its file's age.
    private enum Kind: Int {
        /// A date with its year first: the greater the newer, whenever a file was compressed.
        case dated
        /// Some numbers: most likely the greater the newer.
        case numbers
        /// One short number: it counts from the newest, unless the times say something else.
        case count
    }

    private static func kind(_ stem: String) -> Kind {
        let runs = stem.split { !isDigit($0) }
        guard let first = runs.first else { return .numbers }
        let hasYear = first.hasPrefix("19") || first.hasPrefix("20")
        switch first.count {
        case 8, 12, 14: return hasYear ? .dated : .numbers
        case dateDigits...: return .dated
        case 4 where hasYear && runs.count > 1: return .dated
        default: return runs.count == 1 ? .count : .numbers
        }
    }

    /// How the ages of files follow from their numbers.
    private enum Direction {
        case greaterIsOlder
        case greaterIsNewer
        /// The numbers do not say it (a ring): the times do.
        case none
    }

    /// Sorts files, oldest first. Dates and numbers in the names say the order; where the times of files contradict a
    /// count it runs the other way, or in a ring, and the times count. `countsFromNewest`: it never does.
    static func sort(_ files: [RotatedFile], countsFromNewest: Bool) -> [RotatedFile] {
        var groups: [String: (kind: Kind, files: [RotatedFile])] = [:]
        for file in files {
            let kind = kind(file.stem)
            // Dates of several shapes, as with and without a time, are of one order.
            let key = kind == .dated ? "" : shape(file.stem)
            groups[key, default: (kind, [])].files.append(file)
        }
        let sorted = groups.sorted { a, b in
            let (one, two) = (newest(a.value.files), newest(b.value.files))
            if one != two { return one < two }
            if a.value.kind != b.value.kind {
                return a.value.kind.rawValue < b.value.kind.rawValue
            }
            return bytesPrecede(a.key, b.key)
        }
        return sorted.flatMap { _, group in
            sort(group.files, group.kind, countsFromNewest: countsFromNewest)
        }
    }

    private static func newest(_ files: [RotatedFile]) -> TimestampNS {
        files.map(\.modified).max() ?? TimestampNS(0)
    }

    private static func sort(
        _ files: [RotatedFile], _ kind: Kind, countsFromNewest: Bool
    ) -> [RotatedFile] {
        let rising = files.sorted { precede($0.stem, $1.stem) }
        guard kind != .dated else { return counted(rising, hasSteps: false) }
        let usual: Direction = kind == .count ? .greaterIsOlder : .greaterIsNewer
        switch countsFromNewest ? usual : direction(rising, usual: usual) {
        case .greaterIsNewer: return counted(rising, hasSteps: kind == .count)
        case .greaterIsOlder: return counted(rising.reversed(), hasSteps: kind == .count)
        case .none:
            let byTime = rising.enumerated().sorted {
                ($0.element.modified, $0.offset) < ($1.element.modified, $1.offset)
            }
            return byTime.map(\.element)
        }
    }

    /// What the times of `rising` say. Those of compressed files may be the times of compression: neighbours of one
    /// form are compared first.
    private static func direction(_ rising: [RotatedFile], usual: Direction) -> Direction {
        let plain = rising.filter { $0.form == .plain }
        let packed = rising.filter { $0.form != .plain }
        var pairs = Array(zip(plain, plain.dropFirst())) + Array(zip(packed, packed.dropFirst()))
        if pairs.isEmpty { pairs = Array(zip(rising, rising.dropFirst())) }
        let newer = pairs.count { $0.0.modified < $0.1.modified }
        let older = pairs.count { $0.0.modified > $0.1.modified }
        switch usual {
        case .greaterIsOlder where older > newer || older + newer == 0: return .greaterIsOlder
        case .greaterIsNewer where newer > older || older + newer == 0: return .greaterIsNewer
        case _ where newer == 0: return .greaterIsOlder
        case _ where older == 0: return .greaterIsNewer
        default: return .none
        }
    }

    /// Notes how many files are missing before each of `files`, which are in their order. Of a date's names those of
    /// one day may be counted: `2026-11-26.0`.
    private static func counted(_ files: [RotatedFile], hasSteps: Bool) -> [RotatedFile] {
        var files = files
        for index in files.indices.dropFirst() {
            let (old, new) = (numbers(files[index - 1].stem), numbers(files[index].stem))
            guard old.count == new.count, old.dropLast() == new.dropLast(),
                hasSteps || old.count > 1,
                shape(files[index - 1].stem) == shape(files[index].stem),
                let first = old.last, let second = new.last,
                first.count < dateDigits, second.count < dateDigits,
                let one = Int(first), let two = Int(second)
            else { continue }
            files[index].missingBefore =
                isCounted(files[index].stem) ? max(abs(two - one) - 1, 0) : 0
        }
        return files
    }

    /// How many names are missing behind the newest file: a count runs down to 1 or 0, where more than one file says
    /// that it runs down.
    static func missingBehind(_ files: [RotatedFile]) -> Int {
        guard let newest = files.last, let older = files.dropLast().last,
            kind(newest.stem) == .count, shape(newest.stem) == shape(older.stem),
            precede(newest.stem, older.stem), let text = numbers(newest.stem).last,
            let number = Int(text)
        else { return 0 }
        return max(number - 1, 0)
    }

    /// Whether the last number of a name is a count: one that stands behind a dot, and not part of a date or time.
    private static func isCounted(_ stem: String) -> Bool {
        let runs = stem.split { !isDigit($0) }
        if runs.count == 1 { return true }
        guard let first = runs.first, let last = runs.last else { return false }
        // `20261126.0`, `2026-11-26.0`, but neither `2026-11-26` nor `2026-11-26T18-00-00.000`.
        let before = stem[..<last.startIndex].last
        return before == "." && runs.count == (first.count >= 8 ? 2 : 4)
    }
}
