internal import Model

/// Walks the tree of a template. Errors carry the place that was evaluated last, as Go's do.
struct TemplateInterpreter {
    private let template: GoTemplate
    private let data: TemplateValue
    private let replacements: [String: TemplateFunction]
    private let inputs: [TemplateValue]
    private let limits: TemplateLimits
    var output: [UInt8] = []
    private var outputStart = 0
    /// What `$` is.
    private var root: TemplateValue
    private var variables: [(name: String, value: TemplateValue)] = []
    private var tables: TemplateTables
    private var bodyName: String
    private var place = -1
    private var depth = 0
    private var stepCount = 0
    private var workByteCount = 0

    /// How a list of nodes ended.
    private enum Flow {
        case onward, leaveRange, nextInRange
    }

    init(
        template: GoTemplate, data: TemplateValue, replacements: [String: TemplateFunction],
        inputs: [TemplateValue], limits: TemplateLimits
    ) {
        self.template = template
        self.data = data
        self.replacements = replacements
        self.inputs = inputs
        self.limits = limits
        root = data
        tables = template.main.tables
        bodyName = template.main.name
    }

    mutating func run() throws(GoTemplateError) {
        outputStart = output.count
        _ = try walk(template.main.nodes, data)
    }

    // MARK: errors

    private func fault(_ message: String, go: String, at place: Int) -> TemplateFault {
        guard tables.places.indices.contains(place) else {
            return TemplateFault(
                line: 1, message: message, goText: "template: \(bodyName): \(go)")
        }
        let at = tables.places[place]
        return TemplateFault(
            line: at.line, message: message,
            goText: "template: \(tables.name):\(at.line):\(at.column): executing "
                + "\(GoFormat.quoted(bodyName)) at <\(at.context)>: \(go)")
    }

    /// `go` are Go's words where they differ.
    private func failure(
        _ message: String, go: String? = nil, at place: Int? = nil
    ) -> GoTemplateError {
        .execution(fault(message, go: go ?? message, at: place ?? self.place))
    }

    private func limit(_ message: String) -> GoTemplateError {
        .limit(fault(message, go: message, at: place))
    }

    private mutating func step() throws(GoTemplateError) {
        stepCount += 1
        guard stepCount <= limits.stepsMax else {
            throw limit("more than \(limits.stepsMax) steps")
        }
    }

    private mutating func write(_ text: String) throws(GoTemplateError) {
        output.append(contentsOf: text.utf8)
        guard output.count - outputStart <= limits.outputBytesMax else {
            throw limit("the output is longer than \(limits.outputBytesMax) bytes")
        }
    }

    // MARK: nodes

    private mutating func walk(
        _ nodes: [TemplateNode], _ dot: TemplateValue
    ) throws(GoTemplateError) -> Flow {
        for node in nodes {
            try step()
            switch node {
            case .text(let text): try write(text)
            case .action(let pipeline):
                let value = try evaluate(pipeline, dot)
                if pipeline.variables.isEmpty { try print(value, pipeline) }
            case .conditional(let branch):
                let flow = try scoped(branch, dot, rebindsDot: false)
                if flow != .onward { return flow }
            case .with(let branch):
                let flow = try scoped(branch, dot, rebindsDot: true)
                if flow != .onward { return flow }
            case .range(let branch): try range(branch, dot)
            case .template(let name, let argument, let place):
                self.place = place
                let value = try argument.map { (pipeline) throws(GoTemplateError) in
                    try evaluate(pipeline, dot)
                }
                self.place = place
                try call(name, value ?? .null)
            case .leaveRange: return .leaveRange
            case .nextInRange: return .nextInRange
            }
        }
        return .onward
    }

    private mutating func print(
        _ value: TemplateValue, _ pipeline: TemplatePipeline
    ) throws(GoTemplateError) {
        switch value {
        case .string(let text): try write(text)
        case .function:
            throw failure(
                "can't print a function",
                go: "can't print \(tables.places[pipeline.place].context) of type func")
        default: try write(value.text)
        }
    }

    private mutating func scoped(
        _ branch: TemplateBranch, _ dot: TemplateValue, rebindsDot: Bool
    ) throws(GoTemplateError) -> Flow {
        let variableCount = variables.count
        defer { variables.removeSubrange(variableCount...) }
        let value = try evaluate(branch.pipeline, dot)
        guard value.isTrue else { return try walk(branch.alternative, dot) }
        return try walk(branch.body, rebindsDot ? value : dot)
    }

    private mutating func call(
        _ name: String, _ value: TemplateValue
    ) throws(GoTemplateError) {
        guard let body = template.definitions[name] else {
            throw failure("template \"\(name)\" not defined")
        }
        depth += 1
        guard depth <= GoTemplate.depthMax else {
            throw limit("templates call each other more than \(GoTemplate.depthMax) deep")
        }
        let outer = (variables, root, tables, bodyName)
        (variables, root, tables, bodyName) = ([], value, body.tables, body.name)
        defer {
            (variables, root, tables, bodyName) = outer
            depth -= 1
        }
        _ = try walk(body.nodes, value)
    }

    private mutating func range(
        _ branch: TemplateBranch, _ dot: TemplateValue
    ) throws(GoTemplateError) {
        let variableCount = variables.count
        defer { variables.removeSubrange(variableCount...) }
        let value = try evaluate(branch.pipeline, dot, binds: branch.pipeline.isAssignment)
        let entries = try elements(value)
        guard !entries.isEmpty else {
            _ = try walk(branch.alternative, dot)
            return
        }
        let names = branch.pipeline.variables
        for (key, element) in entries {
            try step()
            let mark = variables.count
            defer { variables.removeSubrange(mark...) }
            if names.count == 1 { bind(names[0], element, branch.pipeline) }
            if names.count == 2 {
                bind(names[0], key, branch.pipeline)
                bind(names[1], element, branch.pipeline)
            }
            if try walk(branch.body, element) == .leaveRange { break }
        }
    }

    private mutating func bind(
        _ name: String, _ value: TemplateValue, _ pipeline: TemplatePipeline
    ) {
        if pipeline.isAssignment {
            assign(name, value)
        } else {
            variables.append((name, value))
        }
    }

    private mutating func assign(_ name: String, _ value: TemplateValue) {
        if let index = variables.lastIndex(where: { $0.name == name }) {
            variables[index].value = value
        } else if name == "$" {
            root = value
        }
    }

    /// Keys and elements in the order that `range` visits them; a number ranges from 0.
    private func elements(
        _ value: TemplateValue
    ) throws(GoTemplateError) -> [(TemplateValue, TemplateValue)] {
        switch value.plain {
        case .list(let items): return items.enumerated().map { (.int($0.offset), $0.element) }
        case .map(let entries):
            return entries.sorted { bytesPrecede($0.key, $1.key) }.map {
                (.string($0.key), $0.value)
            }
        case .stringMap(let entries):
            return entries.sorted { bytesPrecede($0.key, $1.key) }
                .map { (.string($0.key), .string($0.value)) }
        case .int(let count):
            guard count <= limits.stepsMax else {
                throw failure("range over too large a number")
            }
            return (0..<max(0, count)).map { (.int($0), .int($0)) }
        case .null: return []
        case .bool, .float, .string, .record, .instant, .duration, .object, .function:
            throw failure(
                "range can't iterate over \(value.text) (\(value.typeName))",
                go: "range can't iterate over \(value.text)")
        }
    }

    // MARK: pipelines

    private mutating func evaluate(
        _ pipeline: TemplatePipeline, _ dot: TemplateValue, binds: Bool? = nil
    ) throws(GoTemplateError) -> TemplateValue {
        place = pipeline.place
        var value: TemplateValue?
        for command in pipeline.commands { value = try evaluate(command, dot, piped: value) }
        let result = value ?? .null
        // `range` binds its variables per element itself.
        guard binds == nil, let name = pipeline.variables.first, pipeline.variables.count == 1
        else {
            return result
        }
        bind(name, result, pipeline)
        return result
    }

    private mutating func evaluate(
        _ command: TemplateCommand, _ dot: TemplateValue, piped: TemplateValue?
    ) throws(GoTemplateError) -> TemplateValue {
        try step()
        let first = command.first
        let rest = command.arguments
        switch first.kind {
        case .function(let number):
            place = first.place
            return try call(number, command.place, rest, dot, piped: piped)
        case .field(let names):
            place = first.place
            return try field(dot, names, rest, dot, piped: piped)
        case .variable(let name, let names):
            place = first.place
            if names.isEmpty { try refuseArguments(first, rest, piped) }
            return try field(variable(name), names, rest, dot, piped: piped)
        case .chain(let inner, let names):
            let value = try evaluate(inner, dot)
            place = first.place
            return try field(value, names, rest, dot, piped: piped)
        case .pipeline(let inner):
            try refuseArguments(first, rest, piped)
            return try evaluate(inner, dot)
        case .dot, .null, .bool, .int, .float, .string:
            place = first.place
            try refuseArguments(first, rest, piped)
            if case .null = first.kind { throw failure("nil is not a command") }
            return try evaluate(first, dot)
        }
    }

    private func refuseArguments(
        _ first: TemplateOperand, _ rest: [TemplateOperand], _ piped: TemplateValue?
    ) throws(GoTemplateError) {
        guard !rest.isEmpty || piped != nil else { return }
        throw failure(
            "can't give an argument to a value that is no function",
            go: "can't give argument to non-function \(tables.places[first.place].context)")
    }

    /// An operand as an argument: without arguments of its own.
    private mutating func evaluate(
        _ operand: TemplateOperand, _ dot: TemplateValue
    ) throws(GoTemplateError) -> TemplateValue {
        try step()
        place = operand.place
        switch operand.kind {
        case .dot: return dot
        case .null: return .null
        case .bool(let value): return .bool(value)
        case .int(let value): return .int(value)
        case .float(let value): return .float(value)
        case .string(let text): return .string(text)
        case .field(let names): return try field(dot, names, [], dot, piped: nil)
        case .variable(let name, let names):
            return try field(variable(name), names, [], dot, piped: nil)
        case .pipeline(let inner): return try evaluate(inner, dot)
        case .chain(let inner, let names):
            let value = try evaluate(inner, dot)
            place = operand.place
            return try field(value, names, [], dot, piped: nil)
        case .function(let number):
            return try call(number, operand.place, [], dot, piped: nil)
        }
    }

    private func variable(_ name: String) throws(GoTemplateError) -> TemplateValue {
        if let found = variables.last(where: { $0.name == name }) { return found.value }
        guard name == "$" else { throw failure("undefined variable \"\(name)\"") }
        return root
    }

    // MARK: functions

    private mutating func call(
        _ number: Int, _ callPlace: Int, _ operands: [TemplateOperand],
        _ dot: TemplateValue, piped: TemplateValue?
    ) throws(GoTemplateError) -> TemplateValue {
        let name = tables.functions[number].name
        let replacement = replacements.isEmpty ? nil : replacements[name]
        guard let function = replacement ?? tables.functions[number].value else {
            return try decide(isOr: name == "or", operands, dot, piped: piped)
        }
        try checkCount(function, name, operands.count, isPiped: piped != nil)
        var arguments: [TemplateValue] = []
        arguments.reserveCapacity(operands.count + (piped == nil ? 0 : 1))
        for operand in operands {
            let parameter = function.parameter(arguments.count)
            arguments.append(try argument(operand, parameter, dot))
        }
        if let piped {
            arguments.append(try converted(piped, function.parameter(arguments.count)))
        }
        try charge(arguments)
        return try call(function, name, arguments, callPlace)
    }

    /// `and` and `or` stop at the operand that decides.
    private mutating func decide(
        isOr: Bool, _ operands: [TemplateOperand], _ dot: TemplateValue, piped: TemplateValue?
    ) throws(GoTemplateError) -> TemplateValue {
        var last: TemplateValue?
        for operand in operands {
            let value = try evaluate(operand, dot)
            if value.isTrue == isOr { return value }
            last = value
        }
        guard let result = piped ?? last else {
            let name = isOr ? "or" : "and"
            throw failure(
                "wrong number of arguments for \(name): want at least 1 got 0",
                go: "wrong number of args for \(name): want at least 1 got 0")
        }
        return result
    }

    /// Texts cost the functions that take them time.
    private mutating func charge(_ arguments: [TemplateValue]) throws(GoTemplateError) {
        for case .string(let text) in arguments { workByteCount += text.utf8.count }
        guard workByteCount <= limits.workBytesMax else {
            throw limit("functions were given more than \(limits.workBytesMax) bytes")
        }
    }

    private func call(
        _ function: TemplateFunction, _ name: String, _ arguments: [TemplateValue]
    ) throws(GoTemplateError) -> TemplateValue {
        try checkCount(function, name, arguments.count, isPiped: false)
        return try call(function, name, arguments, place)
    }

    private func call(
        _ function: TemplateFunction, _ name: String, _ arguments: [TemplateValue],
        _ callPlace: Int
    ) throws(GoTemplateError) -> TemplateValue {
        var arguments = arguments
        if let input = function.input {
            arguments.append(inputs.indices.contains(input) ? inputs[input] : .null)
        }
        do throws(GoTemplateError) {
            let value = try function.body(arguments)
            if case .string(let text) = value, text.utf8.count > limits.outputBytesMax {
                throw GoTemplateError.function(
                    "the result is longer than \(limits.outputBytesMax) bytes")
            }
            return value
        } catch {
            guard case .function(let message) = error else { throw error }
            throw failure("error calling \(name): \(message)", at: callPlace)
        }
    }

    private func checkCount(
        _ function: TemplateFunction, _ name: String, _ count: Int, isPiped: Bool
    ) throws(GoTemplateError) {
        let total = count + (isPiped ? 1 : 0)
        guard !function.arity.contains(total) else { return }
        let isFixed = function.arity.lowerBound == function.arity.upperBound
        let want =
            isFixed
            ? "\(function.arity.lowerBound)" : "at least \(function.arity.lowerBound)"
        let counted = isFixed ? total : count
        throw failure(
            "wrong number of arguments for \(name): want \(want) got \(total)",
            go: "wrong number of args for \(name): want \(want) got \(counted)")
    }

    /// An operand for a parameter of a type. Literals fit or not by how they are written. Source: Go `state.evalArg`.
    private mutating func argument(
        _ operand: TemplateOperand, _ parameter: TemplateParameter, _ dot: TemplateValue
    ) throws(GoTemplateError) -> TemplateValue {
        switch operand.kind {
        case .dot, .field, .variable, .function, .pipeline, .chain:
            let value = try evaluate(operand, dot)
            return try converted(value, parameter)
        case .null, .bool, .int, .float, .string: break
        }
        try step()
        place = operand.place
        switch (operand.kind, parameter) {
        case (.null, .any): return .null
        case (.null, _): throw failure("cannot assign nil to \(parameter.rawValue)")
        case (.bool(let value), .any), (.bool(let value), .bool): return .bool(value)
        case (.string(let text), .any), (.string(let text), .string): return .string(text)
        case (.int(let value), .any), (.int(let value), .int): return .int(value)
        case (.int(let value), .float): return .float(Double(value))
        case (.float(let value), .any), (.float(let value), .float): return .float(value)
        case (.float(let value), .int):
            if let whole = Int(exactly: value) { return .int(whole) }
        default: break
        }
        let context = tables.places[operand.place].context
        switch parameter {
        case .any, .bool, .string, .float:
            throw failure(
                "expected \(parameter == .float ? "float" : parameter.rawValue); found \(context)")
        case .int: throw failure("expected integer; found \(context)")
        case .time: throw failure("can't handle \(context) for arg of type time.Time")
        }
    }

    /// Source: Go `state.validateType`.
    private func converted(
        _ value: TemplateValue, _ parameter: TemplateParameter
    ) throws(GoTemplateError) -> TemplateValue {
        switch (parameter, value) {
        case (.any, _), (.string, .string), (.int, .int), (.float, .float), (.bool, .bool),
            (.time, .instant):
            return value
        case (_, .null): throw failure("invalid value; expected \(parameter.rawValue)")
        default:
            throw failure(
                "wrong type for value; expected \(parameter.rawValue); got \(value.typeName)")
        }
    }

    // MARK: fields

    /// The end of a chain of fields; the last one may be a method with arguments.
    private mutating func field(
        _ receiver: TemplateValue, _ names: [TemplateField],
        _ operands: [TemplateOperand], _ dot: TemplateValue, piped: TemplateValue?
    ) throws(GoTemplateError) -> TemplateValue {
        if names.count == 1, operands.isEmpty, piped == nil, case .record(let values) = receiver {
            return names[0].number < values.count ? .string(values[names[0].number]) : .null
        }
        var value = receiver
        for (index, name) in names.enumerated() {
            var arguments: [TemplateValue] = []
            if index == names.count - 1 {
                let fieldPlace = place
                for operand in operands { arguments.append(try evaluate(operand, dot)) }
                place = fieldPlace
                if let piped { arguments.append(piped) }
            }
            value = try member(value, name, arguments)
        }
        return value
    }

    private func member(
        _ value: TemplateValue, _ field: TemplateField, _ arguments: [TemplateValue]
    ) throws(GoTemplateError) -> TemplateValue {
        let name = field.name
        if let method = method(value, name) { return try call(method, name, arguments) }
        if case .record(let values) = value, arguments.isEmpty {
            return field.number < values.count ? .string(values[field.number]) : .null
        }
        if case .object(let object) = value, let found = object.fields[name], arguments.isEmpty {
            return found
        }
        switch value.plain {
        case .map, .stringMap, .record, .object:
            guard arguments.isEmpty else {
                throw failure(
                    "\(name) has arguments but is no method of \(value.typeName)",
                    go: "\(name) is not a method but has arguments")
            }
        default: break
        }
        switch value.plain {
        case .map(let entries): return entries[name] ?? .null
        case .stringMap(let entries): return .string(entries[name] ?? "")
        case .null:
            throw failure(
                "nil data; no entry for key \"\(name)\"",
                go: "nil pointer evaluating interface {}.\(name)")
        case .bool, .int, .float, .string, .list, .record, .instant, .duration, .object, .function:
            throw failure("can't evaluate field \(name) in type \(value.typeName)")
        }
    }

    private func method(_ value: TemplateValue, _ name: String) -> TemplateFunction? {
        switch value {
        case .object(let object): object.methods[name]
        case .instant(let time): GoTime.methods(time)[name]
        case .duration(let nanoseconds): GoTime.methods(durationNanoseconds: nanoseconds)[name]
        case .null, .bool, .int, .float, .string, .list, .map, .stringMap, .record, .function: nil
        }
    }
}
