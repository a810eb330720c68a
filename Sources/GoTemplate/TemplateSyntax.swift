/// The nodes of a parsed template.
indirect enum TemplateNode: Sendable {
    case text(String)
    case action(TemplatePipeline)
    case conditional(TemplateBranch)
    case with(TemplateBranch)
    case range(TemplateBranch)
    case template(name: String, argument: TemplatePipeline?, line: Int)
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
    var line: Int
    /// `$x` or `$index, $element`.
    var variables: [String]
    /// `=` rather than `:=`.
    var isAssignment: Bool
    var commands: [[TemplateOperand]]
}

/// One word of a command.
indirect enum TemplateOperand: Sendable {
    case dot
    case null
    case bool(Bool)
    case int(Int)
    case float(Double)
    case string(String)
    case field([String])
    case variable(String, [String])
    case function(String)
    case pipeline(TemplatePipeline, [String])
}
