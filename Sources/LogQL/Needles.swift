import LinearRegex
import LogQLSyntax

/// Byte strings that lines which a pipeline keeps all contain.
enum Needles {
    static let countMax = 16

    /// Of the line filters in front of the first stage that changes lines, longest first; none is part of another.
    ///
    /// Taken from `|=`, from expressions (`|~`) where they ask for a text in this very spelling, and from patterns
    /// (`|>`). Filters of several alternatives and negated ones ask for nothing.
    static func required(_ stages: [PipelineStage]) -> [[UInt8]] {
        var found: [[UInt8]] = []
        scan: for stage in stages {
            switch stage {
            case .lineFilter(let filter): found += required(filter)
            case .lineFormat, .unpack, .decolorize: break scan
            case .labelFilter, .json, .logfmt, .regexp, .pattern, .labelFormat, .drop, .keep: break
            }
        }
        var kept: [[UInt8]] = []
        for bytes in found.sorted(by: { $0.count > $1.count }) where kept.count < countMax {
            let needle = Needle(bytes)
            if !kept.contains(where: { needle.firstIndex(in: $0) != nil }) { kept.append(bytes) }
        }
        return kept
    }

    private static func required(_ filter: LineFilter) -> [[UInt8]] {
        guard filter.patterns.count == 1, let pattern = filter.patterns.first, !pattern.isIP
        else { return [] }
        switch filter.operation {
        case .contains: return pattern.bytes.isEmpty ? [] : [pattern.bytes]
        case .matchesRegex:
            let text = String(decoding: pattern.bytes, as: UTF8.self)
            return RegexLiterals.parse(text)?.required.filter { !$0.isFolded }.map(\.bytes) ?? []
        case .matchesPattern:
            let parts = (try? PatternExpression.filtering(pattern.bytes))?.parts ?? []
            return parts.compactMap { if case .literal(let bytes) = $0 { bytes } else { nil } }
        case .notContains, .notMatchesRegex, .notMatchesPattern: return []
        }
    }
}
