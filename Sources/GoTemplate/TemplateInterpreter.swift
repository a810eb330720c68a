internal import Model

/// Walks the tree of a template. Errors carry the line of the pipeline that failed.
struct TemplateInterpreter {
    private let template: GoTemplate
    private let data: TemplateValue
    private let functions: [String: TemplateFunction]
    private var output: [UInt8] = []
    private var variables: [(name: String, value: TemplateValue)] = []
    private var line = 1
    private var depth = 0
    private var stepCount = 0

    /// How a list of nodes ended.
    private enum Flow {
        case onward, leaveRange, nextInRange
    }

    init(
        template: GoTemplate, data: TemplateValue, functions: [String: TemplateFunction]
    ) {
        self.template = template
        self.data = data
        self.functions = functions
    }

    mutating func run() throws(GoTemplateError) -> String {
        variables = [("$", data)]
        _ = try walk(template.nodes, data)
        return String(decoding: output, as: UTF8.self)
    }

    private func failure(_ message: String) -> GoTemplateError {
        .execution(line: line, message: message)
    }

    private mutating func step() throws(GoTemplateError) {
        stepCount += 1
        guard stepCount <= GoTemplate.stepsMax else {
            throw .limit(line: line, message: "more than \(GoTemplate.stepsMax) steps")
        }
    }

    private mutating func write(_ text: String) throws(GoTemplateError) {
        output += text.utf8
        guard output.count <= GoTemplate.outputBytesMax else {
            throw .limit(
                line: line, message: "the output is longer than \(GoTemplate.outputBytesMax) bytes")
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
                if pipeline.variables.isEmpty { try write(printed(value)) }
            case .conditional(let branch):
                let flow = try scoped(branch, dot, rebindsDot: false)
                if flow != .onward { return flow }
            case .with(let branch):
                let flow = try scoped(branch, dot, rebindsDot: true)
                if flow != .onward { return flow }
            case .range(let branch): try range(branch, dot)
            case .template(let name, let argument, let line):
                self.line = line
                let value = try argument.map { (pipeline) throws(GoTemplateError) in
                    try evaluate(pipeline, dot)
                }
                try call(name, value ?? .null)
            case .leaveRange: return .leaveRange
            case .nextInRange: return .nextInRange
            }
        }
        return .onward
    }

    private func printed(_ value: TemplateValue) throws(GoTemplateError) -> String {
        if case .function = value { throw failure("can't print a function") }
        return value.text
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
            throw .limit(
                line: line,
                message: "templates call each other more than \(GoTemplate.depthMax) deep"
            )
        }
        let outer = variables
        variables = [("$", value)]
        defer {
            variables = outer
            depth -= 1
        }
        _ = try walk(body, value)
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
        guard let index = variables.lastIndex(where: { $0.name == name }) else { return }
        variables[index].value = value
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
            guard count <= GoTemplate.stepsMax else {
                throw failure("range over too large a number")
            }
            return (0..<max(0, count)).map { (.int($0), .int($0)) }
        case .null: return []
        case .bool, .float, .string, .time, .duration, .object, .function:
            throw failure("range can't iterate over \(value.text) (\(value.typeName))")
        }
    }

    // MARK: pipelines

    private mutating func evaluate(
        _ pipeline: TemplatePipeline, _ dot: TemplateValue, binds: Bool? = nil
    ) throws(GoTemplateError) -> TemplateValue {
        line = pipeline.line
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
        _ command: [TemplateOperand], _ dot: TemplateValue, piped: TemplateValue?
    ) throws(GoTemplateError) -> TemplateValue {
        try step()
        let rest = Array(command.dropFirst())
        switch command[0] {
        case .function(let name): return try call(name, rest, dot, piped: piped)
        case .field(let names): return try field(dot, names, rest, dot, piped: piped)
        case .variable(let name, let names):
            return try field(variable(name), names, rest, dot, piped: piped)
        case .pipeline(let inner, let names):
            return try field(nested(inner, dot), names, rest, dot, piped: piped)
        case .dot, .null, .bool, .int, .float, .string:
            guard rest.isEmpty, piped == nil else {
                throw failure("can't give an argument to a value that is no function")
            }
            if case .null = command[0] { throw failure("nil is not a command") }
            return try evaluate(command[0], dot)
        }
    }

    private mutating func nested(
        _ pipeline: TemplatePipeline, _ dot: TemplateValue
    ) throws(GoTemplateError) -> TemplateValue {
        let outerLine = line
        defer { line = outerLine }
        return try evaluate(pipeline, dot)
    }

    /// An operand as an argument: without arguments of its own.
    private mutating func evaluate(
        _ operand: TemplateOperand, _ dot: TemplateValue
    ) throws(GoTemplateError) -> TemplateValue {
        try step()
        switch operand {
        case .dot: return dot
        case .null: return .null
        case .bool(let value): return .bool(value)
        case .int(let value): return .int(value)
        case .float(let value): return .float(value)
        case .string(let value): return .string(value)
        case .field(let names): return try field(dot, names, [], dot, piped: nil)
        case .variable(let name, let names):
            return try field(variable(name), names, [], dot, piped: nil)
        case .pipeline(let inner, let names):
            return try field(nested(inner, dot), names, [], dot, piped: nil)
        case .function(let name): return try call(name, [], dot, piped: nil)
        }
    }

    private func variable(_ name: String) throws(GoTemplateError) -> TemplateValue {
        guard let found = variables.last(where: { $0.name == name }) else {
            throw failure("undefined variable \"\(name)\"")
        }
        return found.value
    }

    /// Calls a function; `and` and `or` stop at the operand that decides.
    private mutating func call(
        _ name: String, _ operands: [TemplateOperand], _ dot: TemplateValue,
        piped: TemplateValue?
    ) throws(GoTemplateError) -> TemplateValue {
        if name == "and" || name == "or" {
            var last: TemplateValue?
            for operand in operands {
                let value = try evaluate(operand, dot)
                if value.isTrue == (name == "or") { return value }
                last = value
            }
            guard let result = piped ?? last else {
                throw failure("wrong number of arguments for \(name): want at least 1 got 0")
            }
            return result
        }
        guard let function = functions[name] else {
            throw failure("function \"\(name)\" not defined")
        }
        var arguments: [TemplateValue] = []
        for operand in operands { arguments.append(try evaluate(operand, dot)) }
        if let piped { arguments.append(piped) }
        return try call(function, name, arguments)
    }

    private func call(
        _ function: TemplateFunction, _ name: String, _ arguments: [TemplateValue]
    ) throws(GoTemplateError) -> TemplateValue {
        guard function.arity.contains(arguments.count) else {
            let want =
                function.arity.count == 1
                ? "\(function.arity.lowerBound)" : "at least \(function.arity.lowerBound)"
            throw failure(
                "wrong number of arguments for \(name): want \(want) got \(arguments.count)")
        }
        do throws(GoTemplateError) {
            return try function.body(arguments)
        } catch {
            guard case .function(let message) = error else { throw error }
            throw failure("error calling \(name): \(message)")
        }
    }

    // MARK: fields

    /// The end of a chain of fields; the last one may be a method with arguments.
    private mutating func field(
        _ receiver: TemplateValue, _ names: [String], _ operands: [TemplateOperand],
        _ dot: TemplateValue, piped: TemplateValue?
    ) throws(GoTemplateError) -> TemplateValue {
        var value = receiver
        for (index, name) in names.enumerated() {
            var arguments: [TemplateValue] = []
            if index == names.count - 1 {
                for operand in operands { arguments.append(try evaluate(operand, dot)) }
                if let piped { arguments.append(piped) }
            }
            value = try member(value, name, arguments)
        }
        if names.isEmpty, !operands.isEmpty || piped != nil {
            throw failure("can't give an argument to a value that is no function")
        }
        return value
    }

    private func member(
        _ value: TemplateValue, _ name: String, _ arguments: [TemplateValue]
    ) throws(GoTemplateError) -> TemplateValue {
        if let method = method(value, name) { return try call(method, name, arguments) }
        guard arguments.isEmpty else {
            throw failure("\(name) has arguments but is no method of \(value.typeName)")
        }
        if case .object(let object) = value, let field = object.fields[name] { return field }
        switch value.plain {
        case .map(let entries): return entries[name] ?? .null
        case .stringMap(let entries): return .string(entries[name] ?? "")
        case .null: throw failure("nil data; no entry for key \"\(name)\"")
        case .bool, .int, .float, .string, .list, .time, .duration, .object, .function:
            throw failure("can't evaluate field \(name) in type \(value.typeName)")
        }
    }

    private func method(_ value: TemplateValue, _ name: String) -> TemplateFunction? {
        switch value {
        case .object(let object): object.methods[name]
        case .time(let time): GoTime.methods(time)[name]
        case .duration(let nanoseconds): GoTime.methods(durationNanoseconds: nanoseconds)[name]
        case .null, .bool, .int, .float, .string, .list, .map, .stringMap, .function: nil
        }
    }
}
