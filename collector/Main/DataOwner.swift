import Glibc
import Startup
import World
import WorldLive

extension CollectorConfiguration {
    /// The user of the packaged unit, and the name that PostgreSQL knows it by.
    static let packagedUser = "petrel-collector"

    /// Root works as the owner of the state folder: PostgreSQL's peer authentication knows that user and not root, and
    /// the collector can read what is left there.
    func becomeDataOwner() throws {
        guard ProcessOwner.isRoot else { return }
        let files = LiveFileTree()
        do throws(FileError) {
            if (try? files.status(dataDirectory)) == nil {
                // The packaged unit has not been started yet, or this collector is no packaged one.
                guard dataDirectory == CollectorConfiguration().dataDirectory,
                    let account = files.account(named: Self.packagedUser)
                else { return }
                try ProcessOwner.makeFolder(dataDirectory, for: account)
            }
            try ProcessOwner.become(ownerOf: dataDirectory)
        } catch {
            throw StartError(
                "\(error.operation) \(error.path): \(String(cString: strerror(error.errno))); the "
                    + "state folder \(dataDirectory) must belong to the collector's user")
        }
    }
}
