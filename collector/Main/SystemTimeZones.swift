import GoTemplate
import World

/// The time zones of the system's package `tzdata`; without it UTC is the only one.
enum SystemTimeZones {
    private static let folder = "/usr/share/zoneinfo"
    /// A zone's file has some kilobytes.
    private static let bytesMax = 1 << 20

    static func locations(_ files: any WorldFileTree) -> GoLocations {
        GoLocations { name in
            try? files.contents("\(folder)/\(name)", bytesMax: bytesMax)
        }
    }
}
