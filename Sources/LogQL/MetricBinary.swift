import LogQLSyntax
import Model

/// An operation between two vectors.
///
/// Series find each other by their signature: the labels of `on`, or all but those of `ignoring`. Signatures, and the
/// labels of what comes out, are worked out once a series and not once a step.
/// Source: Loki 3.6 `BinOpStepEvaluator`.
final class BinaryOperationNode: MetricNode {
    private static let pairByteCount = 32
    private let memory: MemoryMeter
    private let left: MetricNode
    private let right: MetricNode
    private let operation: BinaryOperation.Operation
    private let returnsBool: Bool
    private let matching: BinaryOperation.Matching
    private let matchingNames: Set<String>

    private var signatures: LabelTable
    private var leftSignature = NumberMap()
    private var rightSignature = NumberMap()
    private var results: LabelTable
    /// Of set operations: the result's number by the number on one side.
    private var leftResult = NumberMap()
    private var rightResult = NumberMap()
    private var pairResults: [UInt64: Int32] = [:]

    /// By signature: the step of `position`, and the position in the vector of the one side.
    private var stepSeen: [Int] = []
    private var position: [Int] = []
    /// By signature: the step at which it was matched.
    private var stepMatched: [Int] = []
    /// By result: the step at which it came out last, and for which signature.
    private var stepMade: [Int] = []
    private var signatureMade: [Int] = []

    init(
        _ left: MetricNode, _ right: MetricNode, _ operation: BinaryOperation,
        _ memory: MemoryMeter
    ) {
        self.memory = memory
        signatures = LabelTable(memory)
        results = LabelTable(memory)
        self.left = left
        self.right = right
        self.operation = operation.operation
        returnsBool = operation.returnsBool
        matching = operation.matching ?? BinaryOperation.Matching()
        matchingNames = Set(matching.labels)
    }

    override func evaluate(_ index: Int) throws(MetricError) {
        try right.evaluate(index)
        try left.evaluate(index)
        vector.removeAll()
        switch operation {
        case .and: try keepLeft(index) { $0 }
        case .unless: try keepLeft(index) { !$0 }
        case .or: try unite(index)
        case .add, .subtract, .multiply, .divide, .remainder, .power, .equal, .notEqual, .greater,
            .greaterOrEqual, .less, .lessOrEqual:
            try match(index)
        }
    }

    override func labels(of id: Int32) -> Labels { results.labels[Int(id)] }

    // MARK: - Set operations

    private func keepLeft(
        _ index: Int, where keeps: (Bool) -> Bool
    ) throws(MetricError) {
        for id in right.vector.ids { see(try signature(ofRight: id), index, 0) }
        for place in 0..<left.vector.count {
            let id = left.vector.ids[place]
            guard keeps(stepSeen[try signature(ofLeft: id)] == index) else { continue }
            vector.append(try result(ofLeft: id), left.vector.values[place])
        }
    }

    private func unite(_ index: Int) throws(MetricError) {
        for place in 0..<left.vector.count {
            let id = left.vector.ids[place]
            see(try signature(ofLeft: id), index, 0)
            vector.append(try result(ofLeft: id), left.vector.values[place])
        }
        for place in 0..<right.vector.count {
            let id = right.vector.ids[place]
            guard stepSeen[try signature(ofRight: id)] != index else { continue }
            vector.append(try result(ofRight: id), right.vector.values[place])
        }
    }

    private func result(ofLeft id: Int32) throws(MetricError) -> Int32 {
        let known = leftResult[id]
        if known >= 0 { return known }
        let number = try results.number(of: left.labels(of: id))
        leftResult.set(id, to: number)
        return number
    }

    private func result(ofRight id: Int32) throws(MetricError) -> Int32 {
        let known = rightResult[id]
        if known >= 0 { return known }
        let number = try results.number(of: right.labels(of: id))
        rightResult.set(id, to: number)
        return number
    }

    // MARK: - Pairs

    private func match(_ index: Int) throws(MetricError) {
        let isSwapped = matching.cardinality == .oneToMany
        let many = isSwapped ? right : left
        let one = isSwapped ? left : right
        for place in 0..<one.vector.count {
            let id = one.vector.ids[place]
            let signature = try isSwapped ? signature(ofLeft: id) : signature(ofRight: id)
            guard stepSeen[signature] != index else {
                throw .duplicateSeries(isRight: !isSwapped)
            }
            see(signature, index, place)
        }
        for place in 0..<many.vector.count {
            let id = many.vector.ids[place]
            let signature = try isSwapped ? signature(ofRight: id) : signature(ofLeft: id)
            guard stepSeen[signature] == index else { continue }
            let other = position[signature]
            let number = try result(many, id, one, one.vector.ids[other])
            if matching.cardinality == .oneToOne {
                guard stepMatched[signature] != index else { throw .manyToOneNotExplicit }
                stepMatched[signature] = index
            } else {
                if stepMade[Int(number)] == index, signatureMade[Int(number)] == signature {
                    throw .groupingNotUnique
                }
                stepMade[Int(number)] = index
                signatureMade[Int(number)] = signature
            }
            let (a, b) = (many.vector.values[place], one.vector.values[other])
            append(number, isSwapped ? b : a, isSwapped ? a : b)
        }
    }

    private func append(_ number: Int32, _ left: Double, _ right: Double) {
        let value = operation.fold(left, right)
        if operation.isComparison, !returnsBool {
            if value == 1 { vector.append(number, left) }
        } else {
            vector.append(number, value)
        }
    }

    private func result(
        _ many: MetricNode, _ id: Int32, _ one: MetricNode, _ other: Int32
    ) throws(MetricError) -> Int32 {
        let pair = UInt64(UInt32(bitPattern: id)) << 32 | UInt64(UInt32(bitPattern: other))
        if let known = pairResults[pair] { return known }
        let number = try results.number(
            of: resultLabels(many.labels(of: id), one.labels(of: other)))
        while stepMade.count <= Int(number) {
            stepMade.append(-1)
            signatureMade.append(-1)
        }
        try memory.charge(Self.pairByteCount)
        pairResults[pair] = number
        return number
    }

    private func resultLabels(_ many: Labels, _ one: Labels) -> Labels {
        var labels = many.withoutEmptyValues
        if matching.cardinality == .oneToOne { labels = signature(labels) }
        for name in matching.include { labels = labels.setting(name, one[name]) }
        return labels
    }

    // MARK: - Signatures

    private func see(_ signature: Int, _ index: Int, _ place: Int) {
        stepSeen[signature] = index
        position[signature] = place
    }

    private func signature(ofLeft id: Int32) throws(MetricError) -> Int {
        let known = leftSignature[id]
        if known >= 0 { return Int(known) }
        let number = try number(of: left.labels(of: id))
        leftSignature.set(id, to: number)
        return Int(number)
    }

    private func signature(ofRight id: Int32) throws(MetricError) -> Int {
        let known = rightSignature[id]
        if known >= 0 { return Int(known) }
        let number = try number(of: right.labels(of: id))
        rightSignature.set(id, to: number)
        return Int(number)
    }

    private func number(of labels: Labels) throws(MetricError) -> Int32 {
        let number = try signatures.number(of: signature(labels.withoutEmptyValues))
        while stepSeen.count <= Int(number) {
            stepSeen.append(-1)
            position.append(0)
            stepMatched.append(-1)
        }
        return number
    }

    private func signature(_ labels: Labels) -> Labels {
        if matching.isOn { return labels.keeping(matchingNames) }
        return matchingNames.isEmpty ? labels : labels.dropping(matchingNames)
    }
}
