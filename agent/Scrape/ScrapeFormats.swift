package import Exposition
import Gzip

/// From an answer to its samples.
package enum ScrapeFormats {
    static let acceptHeader = ExpositionFormat.acceptHeader

    /// Decompresses and reads `body`. Nothing of a body with one bad line is taken.
    /// Source: Prometheus 3.14: a body without a known Content-Type is read only with a fallback protocol, and one without
    /// a byte has no samples, whatever its type (`scrapeLoop.append`).
    package static func read(
        _ body: ScrapedBody, _ job: ScrapeJob
    ) throws(ScrapeFailure) -> ScrapedText {
        let bytes = try decompressed(body, job)
        let known = ExpositionFormat(contentType: body.contentType) ?? job.fallbackFormat
        guard let format = bytes.isEmpty ? .prometheusText : known else {
            throw .contentType(body.contentType)
        }
        do throws(ExpositionError) {
            return try ScrapedText(
                bytes, format, samplesMax: ScrapeLimits.samplesMax,
                limits: ExpositionParser.Limits(lineBytesMax: ScrapeLimits.lineBytesMax))
        } catch { throw .exposition("\(error)") }
    }

    private static func decompressed(
        _ body: ScrapedBody, _ job: ScrapeJob
    ) throws(ScrapeFailure) -> [UInt8] {
        guard body.isGzip else { return body.bytes }
        do throws(GzipError) {
            return try Gzip.decompress(body.bytes, bytesMax: job.bodyBytesMax)
        } catch {
            if case .tooLong(let max) = error { throw .bodyTooLarge(max: max) }
            throw .exposition("\(error)")
        }
    }
}
