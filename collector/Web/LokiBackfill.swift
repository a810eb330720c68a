import Model

/// Loki's mark of lines that are sent long after their time: a header, and labels that nobody else may send. Here lines of
/// any age are taken all the same; the labels keep such streams apart.
///
/// Source: Loki 3.6 `X-Loki-Backfill-Shard`.
enum LokiBackfill {
    /// In lower case, as `WebRequest` has its headers.
    static let header = "x-loki-backfill-shard"
    private static let shardBytesMax = 128
    private static let mark = "__backfill__"
    private static let shardLabel = "__backfill_shard__"

    /// The shard that the request names; empty where it names none.
    static func shard(_ request: WebRequest) -> String { request.headers[header] ?? "" }

    /// `streams` with the labels of the shard that the request names, if it does. Throws 400 where the header is too long or
    /// a stream has such labels already.
    static func marked(
        _ streams: [LogStream], _ request: WebRequest
    ) throws(IngestRefusal) -> [LogStream] {
        let shard = shard(request)
        guard shard.utf8.count <= shardBytesMax else {
            throw IngestRefusal(
                400,
                "invalid X-Loki-Backfill-Shard header: value length \(shard.utf8.count) exceeds "
                    + "limit of \(shardBytesMax)")
        }
        for stream in streams
        where !stream.labels[mark].isEmpty || !stream.labels[shardLabel].isEmpty {
            throw IngestRefusal(
                400,
                "streams must not contain the reserved labels \(mark) or \(shardLabel); set the "
                    + "X-Loki-Backfill-Shard header to mark a push as backfill data")
        }
        guard !shard.isEmpty else { return streams }
        return streams.map { stream in
            LogStream(
                labels: stream.labels.setting(mark, "true").setting(shardLabel, shard),
                entries: stream.entries)
        }
    }
}
