/// Why the storage could not do what it was asked.
package enum StorageError: Error, Hashable, Sendable {
    /// The database can't be reached or refused the work for now; the same call may succeed later.
    case unavailable(String)
    /// The database has no space left (SQLSTATE 53100) or no memory; writes are refused until it has.
    case exhausted(String)
    /// A bound was reached: its name as configured, and its value. Nothing partial is returned.
    case limitExceeded(limit: String, maximum: Int)
    /// A number names a series that was removed since the number was given out, for it had no samples left; nothing was
    /// stored. Asking for numbers again makes it anew.
    case seriesRemoved
    /// A matcher's regular expression does not compile.
    case badMatcher(String)
    /// Stored data does not decode; the text says which row.
    case corrupt(String)
    /// The statement was refused for what it says: a defect of ours, or a role without its grant.
    case refused(String)
    case cancelled

    /// The queries that run hold as many samples as they may together.
    package static var crowded: StorageError {
        .unavailable(
            "the queries under way hold as many samples as they may together "
                + "(limits.query_samples_total); try again in a moment")
    }
}
