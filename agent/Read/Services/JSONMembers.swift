import JSONReading

/// Reading what is wanted of another program's JSON: a value of another type than expected is stepped over.
extension JSONReader {
    /// Calls `body` with the name of each member of the object that comes next; `body` reads or skips the value.
    mutating func forEachMember(
        _ body: (String, inout JSONReader) throws(JSONError) -> Void
    ) throws(JSONError) {
        guard try kind() == .object else { return try skip() }
        try enter()
        var isFirst = true
        while let name = try nextName(isFirst: &isFirst) { try body(name, &self) }
    }

    /// Calls `body` before each element of the array that comes next; `body` reads or skips it.
    mutating func forEachElement(
        _ body: (inout JSONReader) throws(JSONError) -> Void
    ) throws(JSONError) {
        guard try kind() == .array else { return try skip() }
        try enter()
        var isFirst = true
        while try nextElement(isFirst: &isFirst) { try body(&self) }
    }

    /// The string that comes next; nil for another value.
    mutating func text() throws(JSONError) -> String? {
        guard try kind() == .string else {
            try skip()
            return nil
        }
        return try string()
    }

    /// The whole number that comes next; nil for another value, a fraction, or one that `Int64` has not.
    mutating func whole() throws(JSONError) -> Int64? {
        guard try kind() == .number else {
            try skip()
            return nil
        }
        return Int64(ProcText.string(try number()))
    }

    /// The truth value that comes next; nil for another value.
    mutating func truth() throws(JSONError) -> Bool? {
        guard try kind() == .boolean else {
            try skip()
            return nil
        }
        return try boolean()
    }
}
