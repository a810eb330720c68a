import Model

/// Whether `a` and `b` are equal but for a relative difference below `epsilon`.
///
/// NaN equals NaN, but a staleness marker equals only a staleness marker; near zero the difference is absolute.
/// Source: Prometheus 3.14 `util/almost.Equal`.
package func almostEqual(_ a: Double, _ b: Double, epsilon: Double) -> Bool {
    if StalenessMarker.isMarker(a) || StalenessMarker.isMarker(b) {
        return StalenessMarker.isMarker(a) && StalenessMarker.isMarker(b)
    }
    if a.isNaN && b.isNaN { return true }
    if a == b { return true }
    let sizes = a.magnitude + b.magnitude
    let difference = (a - b).magnitude
    if a == 0 || b == 0 || sizes < Double.leastNormalMagnitude {
        return difference < epsilon * Double.leastNormalMagnitude
    }
    return difference / min(sizes, .greatestFiniteMagnitude) < epsilon
}
