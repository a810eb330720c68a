/// A place in a file as editors count it: line and column from 1, the column in characters.
package struct YAMLMark: Hashable, Sendable {
    package var line: Int
    package var column: Int

    package init(line: Int, column: Int) {
        self.line = line
        self.column = column
    }
}

/// What is wrong with a YAML file, where, and what was expected instead.
package struct YAMLError: Error, Hashable, Sendable, CustomStringConvertible {
    /// As it was given to the parser; for people only.
    package var file: String
    package var line: Int
    package var column: Int
    package var message: String

    package init(file: String, mark: YAMLMark, message: String) {
        self.file = file
        line = mark.line
        column = mark.column
        self.message = message
    }

    /// `file:line:column: message`.
    package var description: String { "\(file):\(line):\(column): \(message)" }
}

/// A scalar as it was written; its type is decided by who reads it.
package struct YAMLScalar: Hashable, Sendable {
    /// How the scalar was written. Only a plain one can be a number, a truth value or null.
    package enum Style: Hashable, Sendable {
        case plain, singleQuoted, doubleQuoted, literal, folded
    }

    /// The text after unquoting and unfolding.
    package var text: String
    package var style: Style
    /// An explicit tag such as `tag:yaml.org,2002:str`; nil where there is none.
    package var tag: String?

    package init(text: String, style: Style = .plain, tag: String? = nil) {
        self.text = text
        self.style = style
        self.tag = tag
    }
}

/// One entry of a mapping, in the order of the file.
package struct YAMLPair: Hashable, Sendable {
    package var key: String
    package var keyMark: YAMLMark
    package var value: YAMLNode

    package init(key: String, keyMark: YAMLMark, value: YAMLNode) {
        self.key = key
        self.keyMark = keyMark
        self.value = value
    }
}

/// A node of a parsed document with the place where it begins. Aliases and merge keys are already expanded.
package struct YAMLNode: Hashable, Sendable {
    /// What a node is. Keys of a mapping are unique.
    package indirect enum Content: Hashable, Sendable {
        case null
        case scalar(YAMLScalar)
        case sequence([YAMLNode])
        case mapping([YAMLPair])
    }

    package var content: Content
    package var mark: YAMLMark

    package init(_ content: Content, at mark: YAMLMark) {
        self.content = content
        self.mark = mark
    }

    /// What the node is, in words for an error message.
    package var kind: String {
        switch content {
        case .null: "nothing"
        case .scalar: "a single value"
        case .sequence: "a list"
        case .mapping: "a mapping"
        }
    }
}
