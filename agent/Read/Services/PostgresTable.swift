/// What a simple query of PostgreSQL's protocol answered: texts, nil for NULL.
package struct PostgresTable: Hashable, Sendable {
    package var columns: [String]
    /// Each as long as `columns`.
    package var rows: [[String?]]

    package init(columns: [String], rows: [[String?]]) {
        self.columns = columns
        self.rows = rows
    }

    /// The position of a column; nil where the answer has none of this name.
    package func index(_ column: String) -> Int? { columns.firstIndex(of: column) }
}

/// A session with PostgreSQL or PgBouncer's console, as a seam for tests. One thread at a time.
package protocol PostgresQuerying: AnyObject {
    /// As `server_version_num`: 180001; 0 where the server has none (PgBouncer's console).
    var serverVersion: Int { get }
    /// The last result set of `sql`, a simple query. Throws `refused` with the SQLSTATE as code where the server answers
    /// with an error, after which the session goes on; after every other error it is of no use.
    func query(_ sql: String) throws(ServiceError) -> PostgresTable
}
