/// What went wrong before a program's work began, said in one line with its remedy.
package struct StartError: Error, Hashable, CustomStringConvertible, Sendable {
    package var description: String

    package init(_ description: String) { self.description = description }
}
