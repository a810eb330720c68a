import Model

/// How an administrator takes series out of the store.
package protocol SeriesDeleter: Sendable {
    /// Deletes what was received so far of the series in scope, from its start through its end: no reader sees it any
    /// more. The number of series. Throws `limitExceeded` where too many deletions wait to be cleaned.
    func deleteSeries(_ scope: LabelScope) async throws(StorageError) -> Int
    /// Rewrites the chunks that still hold deleted samples. The number of chunks rewritten.
    func cleanTombstones() async throws(StorageError) -> Int
}
