package import Model

/// When a token may take the place of the identity that a host has.
package enum JoinRule {
    /// Why `token` may not replace `current` without being forced; nil where it may.
    ///
    /// An identity that has ended is worth nothing, and a token made for the same host of the same fleet is the
    /// operator's word that it shall be replaced. Anything else would silently take a host away from where it belongs.
    package static func refusal(
        of token: EnrolmentToken, over current: HostIdentity?, now: TimestampMS
    ) -> String? {
        guard let current, let host = current.host, current.leaf.notAfter >= now else {
            return nil
        }
        let isSameFleet = current.authorities.contains { $0.keyHash == token.authorityKeyHash }
        guard !isSameFleet || host != token.host else { return nil }
        let place =
            isSameFleet ? "\(token.host) of the same fleet" : "\(token.host) of another fleet"
        return "this host is \(host) already (certificate until "
            + "\(RFC3339.text(current.leaf.notAfter))) and the token is for \(place); nothing was "
            + "changed. To give the present identity up, repeat it with --force"
    }
}
