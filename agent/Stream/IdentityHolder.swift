package import Identity
internal import Synchronization

/// The identity in use, with a version that grows with each replacement. Safe from any thread.
package final class IdentityHolder: Sendable {
    struct Held: Sendable {
        var identity: HostIdentity
        var version: Int
    }

    private let state = Mutex<Held?>(nil)
    private let store: IdentityStore

    /// Holds nothing before the first `refresh`.
    package init(store: IdentityStore) { self.store = store }

    /// Nil before the host has joined a fleet.
    var current: Held? { state.withLock { $0 } }

    /// Reads the state folder and takes over what it holds where it is another certificate; true when it took over.
    @discardableResult
    package func refresh() throws(IdentityError) -> Bool {
        let identity = try store.load()
        return state.withLock { held in
            guard held?.identity.leaf != identity.leaf else { return false }
            held = Held(identity: identity, version: (held?.version ?? 0) + 1)
            return true
        }
    }

    /// Stores a renewed identity and takes it over.
    func replace(_ identity: HostIdentity) throws(IdentityError) {
        try store.save(identity)
        try refresh()
    }
}
