import Startup
import World
import WorldLive

extension CollectorConfiguration {
    /// The user of the packaged unit, and the name that PostgreSQL knows it by.
    static let packagedUser = "petrel-collector"

    /// Root works as the owner of the state folder: PostgreSQL's peer authentication knows that user and not root, and
    /// the collector can read what is left there.
    func becomeDataOwner() throws {
        do throws(FileError) {
            try ProcessOwner.become(
                ownerOfState: dataDirectory, packagedAt: CollectorConfiguration().dataDirectory,
                for: Self.packagedUser)
        } catch {
            let reason = LiveSurroundings().errorText(error.errno)
            throw StartError(
                "\(error.operation) \(error.path): \(reason); the state "
                    + "folder \(dataDirectory) must belong to the collector's user")
        }
    }
}
