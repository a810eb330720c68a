package import Exposition
import Gzip

/// From an answer to its samples.
package enum ScrapeFormats {
    static let acceptHeader = ExpositionFormat.acceptHeader

    /// Decompresses and reads `body`. Nothing of a body with one bad line is taken.
    /// Source: Prometheus 3.14: a body without a known Content-Type is read only with a fallback protocol.
    package static func read(
        _ body: ScrapedBody, _ job: ScrapeJob
    ) throws(ScrapeFailure) -> ScrapedText {
        guard let format = ExpositionFormat(contentType: body.contentType) ?? job.fallbackFormat
        else { throw .contentType(body.contentType) }
        var bytes = body.bytes
        if body.isGzip {
            do throws(GzipError) {
                bytes = try Gzip.decompress(body.bytes, bytesMax: job.bodyBytesMax)
            } catch {
                if case .tooLong(let max) = error { throw .bodyTooLarge(max: max) }
                throw .exposition("\(error)")
            }
        }
        do throws(ExpositionError) {
            return try ScrapedText(
                bytes, format, samplesMax: ScrapeLimits.samplesMax,
                limits: ExpositionParser.Limits(lineBytesMax: ScrapeLimits.lineBytesMax))
        } catch { throw .exposition("\(error)") }
    }
}
