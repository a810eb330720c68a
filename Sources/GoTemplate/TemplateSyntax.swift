/// The nodes of a parsed template.
indirect enum TemplateNode: Sendable {
    case text(String)
    case action(TemplatePipeline)
    case conditional(TemplateBranch)
    case with(TemplateBranch)
    case range(TemplateBranch)
    case template(name: String, argument: TemplatePipeline?, place: Int)
    case leaveRange
    case nextInRange
}

/// `{{if}}`, `{{with}}` or `{{range}}` with its parts; without `else` the second list is empty.
struct TemplateBranch: Sendable {
    var pipeline: TemplatePipeline
    var body: [TemplateNode]
    var alternative: [TemplateNode]
}

/// Commands joined by `|`, perhaps with a declaration before them.
struct TemplatePipeline: Sendable {
    /// In `GoTemplate.places`, as all places here.
    var place: Int
    /// `$x` or `$index, $element`.
    var variables: [String] = []
    /// `=` rather than `:=`.
    var isAssignment = false
    var commands: [TemplateCommand] = []
}

/// A function, field or value, with arguments.
struct TemplateCommand: Sendable {
    var first: TemplateOperand
    var arguments: [TemplateOperand]
    var place: Int
}

/// One word of a command.
struct TemplateOperand: Sendable {
    indirect enum Kind: Sendable {
        case dot
        case null
        case bool(Bool)
        case int(Int)
        case float(Double)
        case string(String)
        case field([TemplateField])
        case variable(String, [TemplateField])
        /// A number in `GoTemplate.functionNames`.
        case function(Int)
        case pipeline(TemplatePipeline)
        /// Fields of a result: `(index .a 1).b`, `now.Unix`.
        case chain(TemplateOperand, [TemplateField])
    }

    var kind: Kind
    var place: Int
}

/// A field's name, and its number in `GoTemplate.fieldNames`.
struct TemplateField: Sendable {
    var name: String
    var number: Int
}

/// Where something stands, and how Go prints it in errors.
struct TemplatePlace: Sendable {
    var line: Int
    /// Bytes before it on its line. Source: Go `parse.Tree.ErrorContext`.
    var column: Int
    var context: String
}
