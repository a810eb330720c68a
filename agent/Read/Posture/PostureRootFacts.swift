import Model
import World

/// What the root helper left in its file: `petrel_posture_root_value` and `petrel_posture_root_info` by fact.
struct PostureRootFacts {
    /// Where its unit puts it.
    static let path = "/run/petrel/posture.prom"
    /// The helper runs every 15 minutes; what is older than four runs tells nothing of now.
    static let ageMaxSeconds = 3_600.0
    static let fileBytesMax = 1 << 20
    static let samplesMax = 4_096

    /// Without facts, why.
    private(set) var reason = "needs petrel-posture-helper"
    private var numbers: [String: Double] = [:]
    private var words: [String: [String]] = [:]
    private var incomplete: Set<String> = []
    private(set) var isUsable = false

    /// `nowSeconds` since the epoch. No facts where the file is missing, malformed, or of another time.
    init(tree: any WorldFileTree, path: String, nowSeconds: Double) {
        guard let bytes = try? tree.contents(path, bytesMax: Self.fileBytesMax) else { return }
        guard
            let file = try? TextFileFamilies(bytes, path: path, samplesMax: Self.samplesMax)
        else {
            reason = "\(path) is malformed"
            return
        }
        var lastRun: Double?
        for family in file.families {
            for point in family.points {
                let fact = point.labels["fact"]
                switch family.name {
                // -1 is unknown.
                case "petrel_posture_root_value" where point.value >= 0:
                    numbers[fact] = point.value
                case "petrel_posture_root_info" where point.labels["value"] != "unknown":
                    words[fact, default: []].append(point.labels["value"])
                case "petrel_posture_root_success" where point.value != 1:
                    incomplete.insert(point.labels["group"])
                case "petrel_posture_root_last_run_timestamp_seconds": lastRun = point.value
                default: break
                }
            }
        }
        guard let lastRun, abs(nowSeconds - lastRun) <= Self.ageMaxSeconds else {
            reason = "needs petrel-posture-helper: its file is old"
            return
        }
        isUsable = true
    }

    func number(_ fact: String) -> Double? { isUsable ? numbers[fact] : nil }

    /// Every value of a fact that is a word; empty where it is unknown.
    func words(_ fact: String) -> [String] { isUsable ? words[fact] ?? [] : [] }

    /// False where the helper could not read all that a group stands on: then nothing of it is a pass.
    func isComplete(_ group: String) -> Bool { isUsable && !incomplete.contains(group) }

    /// Why a fact is not there.
    var missing: String { isUsable ? "petrel-posture-helper could not read it" : reason }
}
