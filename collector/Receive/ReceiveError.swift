package import Identity

/// Why the receiving side could not start or go on.
package enum ReceiveError: Error, Sendable, CustomStringConvertible {
    /// A listener could not be opened: another program holds the port, or the address is not this machine's.
    case cannotListen(address: String, port: Int, detail: String)
    case identity(IdentityError)
    case cancelled

    /// What is wrong and what to do.
    package var description: String {
        switch self {
        case .cannotListen(let address, let port, let detail):
            "cannot listen on \(address):\(port) (\(detail)); free the port or choose another one"
        case .identity(let error): "\(error)"
        case .cancelled: "cancelled"
        }
    }
}
