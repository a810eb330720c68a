package import Model

/// Makes the columns of a write request out of what another way in has read, in the same form and within the same
/// bounds.
package struct WriteRequestBuilder {
    private let limits: WriteRequest.Limits
    package private(set) var request = WriteRequest()
    /// Bytes of the label sets of all series, shared parts with each.
    private var spelledBytes = 0

    package init(limits: WriteRequest.Limits = WriteRequest.Limits()) { self.limits = limits }

    /// Takes a text of metadata in; its place in the request's `bytes`.
    package mutating func text(_ text: String) -> Range<Int> {
        let start = request.bytes.count
        request.bytes.append(contentsOf: text.utf8)
        return start..<request.bytes.count
    }

    /// Takes labels in that series to come share; their place. Throws `tooMany`.
    package mutating func share(_ labels: [Label]) throws(RemoteWriteError) -> Range<Int> {
        try spell(labels)
    }

    /// Adds a series of `labels` and those that `share` has put at `shared`, no name twice, in any order, but always in the
    /// same: a series is known by these bytes. What follows belongs to it. Throws `tooMany`.
    package mutating func addSeries(
        _ labels: [Label], sharing shared: Range<Int> = 0..<0,
        metadata: WriteRequest.RawMetadata?
    ) throws(RemoteWriteError) {
        var series = WriteRequest.Series(labels: try spell(labels))
        series.sharedLabels = shared
        series.metadata = metadata
        spelledBytes += series.labels.count + shared.count
        guard spelledBytes <= limits.spelledBytesMax else {
            throw .tooMany("bytes of label sets, each spelled out,", max: limits.spelledBytesMax)
        }
        try request.append(series, limits)
    }

    /// Adds a sample to the last series. `start` is when the counting began, 0 where it isn't known; milliseconds.
    package mutating func addSample(
        _ timestamp: Int64, _ value: Double, start: Int64
    ) throws(RemoteWriteError) {
        try request.append(timestamp, value, start: start, limits)
        request.noteSample()
    }

    package mutating func addHistogram(_ sample: HistogramSample) throws(RemoteWriteError) {
        guard request.histograms.count < limits.histogramsMax else {
            throw .tooMany("histograms", max: limits.histogramsMax)
        }
        request.noteHistogram(sample)
    }

    /// Adds an exemplar to the last series; `labels` in any order. Milliseconds.
    package mutating func addExemplar(
        _ labels: [Label], _ value: Double, at timestamp: Int64
    ) throws(RemoteWriteError) {
        guard request.exemplars.count < limits.exemplarsMax else {
            throw .tooMany("exemplars", max: limits.exemplarsMax)
        }
        request.noteExemplar(
            WriteRequest.Exemplar(
                labels: try spell(labels), value: value, timestamp: timestamp))
    }

    private mutating func spell(_ labels: [Label]) throws(RemoteWriteError) -> Range<Int> {
        let start = request.labelBytes.count
        for label in labels {
            let size = label.name.utf8.count + label.value.utf8.count
            guard request.labelBytes.count + size <= limits.labelBytesMax else {
                throw .tooMany("bytes of label sets", max: limits.labelBytesMax)
            }
            RawLabels.append(label, to: &request.labelBytes)
        }
        return start..<request.labelBytes.count
    }
}

extension WriteRequest {
    fileprivate mutating func noteSample() { series[series.count - 1].sampleCount += 1 }

    fileprivate mutating func noteHistogram(_ sample: HistogramSample) {
        histograms.append(sample)
        series[series.count - 1].histogramCount += 1
    }

    fileprivate mutating func noteExemplar(_ exemplar: Exemplar) {
        exemplars.append(exemplar)
        series[series.count - 1].exemplarCount += 1
    }
}
