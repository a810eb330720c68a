import AgentSpool
import Model
import Simulation
import Storage
import Testing
import Wire
import World

@Suite("spool under crashes")
struct SpoolCrashTests {
    /// Runs a seed's scenario of several lives; returns what went wrong.
    static func run(_ seed: UInt64, honoursSynchronize: Bool = true) -> [String] {
        var scenario = SpoolScenario(seed: seed, honoursSynchronize: honoursSynchronize)
        do {
            for _ in 0..<4 {
                try scenario.open()
                for _ in 0..<(10 + scenario.random.below(60)) { try scenario.step() }
                if scenario.random.below(2) == 0 {
                    scenario.tree.killProcess()
                } else {
                    scenario.tree.cutPower()
                }
            }
            try scenario.open()
            try scenario.drain()
        } catch {
            return ["\(error)"]
        }
        var problems = scenario.oracle.problems
        if !scenario.lost.isEmpty { problems.append("lost \(scenario.lost)") }
        if scenario.epochs.count != 1 { problems.append("\(scenario.epochs.count) epochs") }
        return problems
    }

    @Test("nothing durable is lost, no sequence gets other content", arguments: 0..<24)
    func crashes(block: Int) {
        for seed in UInt64(block * 50)..<UInt64(block * 50 + 50) {
            let problems = Self.run(seed)
            #expect(problems.isEmpty, "seed \(seed): \(problems.prefix(3))")
            if !problems.isEmpty { return }
        }
    }

    @Test("the harness sees a disk that lies")
    func control() {
        let failed = (0..<50).filter { !Self.run(UInt64($0), honoursSynchronize: false).isEmpty }
        #expect(failed.count > 25, "only \(failed.count) of 50 runs failed without synchronize")
    }
}
