/// Token buckets, one a key and one for all keys: a call passes when both have a token. Pure; time is an argument.
///
/// At most `keysMax` buckets are kept. When a new key finds the table full, full buckets (which hold no memory of the
/// past) are dropped; where none is full the call is refused, so a flood of keys can't reset anyone's bucket.
package struct RateLimiter {
    private struct Bucket {
        var tokens: Double
        var updatedAt: Int64
    }

    private var buckets: [String: Bucket] = [:]
    private var shared: Bucket
    private let perKeyPerMinute: Double
    private let perMinute: Double
    private let keysMax: Int

    /// Calls a minute for a key and in sum; a bucket starts full.
    package init(perKeyPerMinute: Int, perMinute: Int, keysMax: Int = 1024, now: Int64) {
        self.perKeyPerMinute = Double(perKeyPerMinute)
        self.perMinute = Double(perMinute)
        self.keysMax = keysMax
        shared = Bucket(tokens: Double(perMinute), updatedAt: now)
    }

    /// Whether a call of `key` passes at `now` (monotonic nanoseconds). A refused call takes no token.
    package mutating func admit(_ key: String, now: Int64) -> Bool {
        Self.fill(&shared, rate: perMinute, now: now)
        if buckets[key] == nil, buckets.count >= keysMax { dropFull(now: now) }
        guard buckets[key] != nil || buckets.count < keysMax else { return false }
        var bucket = buckets[key] ?? Bucket(tokens: perKeyPerMinute, updatedAt: now)
        Self.fill(&bucket, rate: perKeyPerMinute, now: now)
        defer { buckets[key] = bucket }
        guard bucket.tokens >= 1, shared.tokens >= 1 else { return false }
        bucket.tokens -= 1
        shared.tokens -= 1
        return true
    }

    private mutating func dropFull(now: Int64) {
        buckets = buckets.filter { _, bucket in
            var filled = bucket
            Self.fill(&filled, rate: perKeyPerMinute, now: now)
            return filled.tokens < perKeyPerMinute
        }
    }

    private static func fill(_ bucket: inout Bucket, rate: Double, now: Int64) {
        let elapsed = max(0, now - bucket.updatedAt)
        bucket.tokens = min(rate, bucket.tokens + rate * Double(elapsed) / 60e9)
        bucket.updatedAt = max(now, bucket.updatedAt)
    }
}
