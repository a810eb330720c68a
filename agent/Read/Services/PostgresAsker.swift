import Model
import World

extension ServiceError {
    /// Whether the session that it came from is of no more use.
    var endsSession: Bool {
        // Class 57P is the server's goodbye: shutdown, crash, a session idle for too long; 08 a broken connection.
        guard case .refused(_, let code, _) = self else { return true }
        return code.hasPrefix("57P") || code.hasPrefix("08")
    }
}

/// Asks a session for views: all in one round trip where that goes well, else each alone, so that one that fails
/// costs no other. A view that failed is asked alone until it answers again.
struct PostgresAsker {
    /// What became of one view.
    struct Answer {
        var families: [MetricFamily] = []
        /// Nil where the view answered.
        var error: ServiceError?
        var nanoseconds: Int64 = 0
    }

    /// What became of all of them.
    struct Answers {
        var views: [Answer]
        /// Why the session is of no more use; nil where it goes on.
        var end: ServiceError?
        /// Whether the server said anything.
        var isHeard = false
    }

    /// Views that are remembered as failing.
    private static let apartMax = 512
    /// Readings without a common query after one that failed although each view alone answered, or that ended the
    /// session.
    private static let pauseReadings = 20
    /// Common queries that a session keeps planned.
    private static let preparedMax = 8

    private let address: ServiceAddress
    private let clock: any WorldClock
    private var apart: Set<String> = []
    private var pauses: [String: Int] = [:]
    /// Names of planned queries.
    private var prepared: [String: String] = [:]
    private var preparedCount = 0
    private var hasStalePlans = false

    init(_ address: ServiceAddress, _ clock: any WorldClock) {
        self.address = address
        self.clock = clock
    }

    /// The kept session is a new one, which has planned nothing.
    mutating func forgetPlans() {
        prepared = [:]
        hasStalePlans = false
    }

    /// The answers in the order of `views`. What is not asked before `end`, in nanoseconds of the monotonic clock,
    /// fails. `database` is that of a session for this once; nil for the kept one, which plans its queries once.
    mutating func ask(
        _ views: [PostgresView], of database: String?, _ session: any PostgresQuerying,
        until end: Int64
    ) -> Answers {
        var answers = Answers(views: Array(repeating: Answer(), count: views.count))
        let scope = database ?? ""
        // What failed last time comes last, so that it costs nothing but itself.
        let together = views.indices.filter { !apart.contains(Self.key(scope, views[$0])) }
        var alone = together + views.indices.filter { !together.contains($0) }
        var isBatchRefused = false
        let pause = pauses[scope] ?? 0
        pauses[scope] = pause > 1 ? pause - 1 : nil
        if pause == 0, together.count > 1, clock.monotonicNanoseconds < end {
            let start = clock.monotonicNanoseconds
            let batch = PostgresBatch(views: together.map { views[$0] })
            do throws(ServiceError) {
                let table = try query(batch.sql, session, isKept: database == nil)
                // The round trip is everyone's.
                let share = (clock.monotonicNanoseconds - start) / Int64(together.count)
                for (index, families) in zip(together, batch.families(table)) {
                    answers.views[index] = Answer(families: families, nanoseconds: share)
                }
                answers.isHeard = true
                alone.removeFirst(together.count)
            } catch {
                if error.endsSession {
                    // A session that answered such queries before ended for another reason.
                    if database != nil || prepared.isEmpty {
                        pauses[scope] = Self.pauseReadings
                    }
                    answers.end = error
                } else {
                    answers.isHeard = true
                    isBatchRefused = true
                }
            }
        }
        var hasCulprit = false
        for index in alone {
            let key = Self.key(scope, views[index])
            switch ask(views[index], session, until: end, index, &answers) {
            case true?: apart.remove(key)
            case false?: hasCulprit = apart.insert(key).inserted || hasCulprit
            case nil: break
            }
        }
        if isBatchRefused, !hasCulprit { pauses[scope] = Self.pauseReadings }
        if apart.count > Self.apartMax { apart = [] }
        return answers
    }

    /// Whether the view answered; nil where it was not asked.
    private func ask(
        _ view: PostgresView, _ session: any PostgresQuerying, until end: Int64, _ index: Int,
        _ answers: inout Answers
    ) -> Bool? {
        let start = clock.monotonicNanoseconds
        if let end = answers.end {
            answers.views[index].error = end
            return nil
        }
        guard start < end else {
            answers.views[index].error = .timeout(address, operation: "what was asked before")
            return nil
        }
        do throws(ServiceError) {
            answers.views[index].families = view.families(try session.query(view.sql))
            answers.isHeard = true
        } catch {
            answers.views[index].error = error
            if error.endsSession { answers.end = error } else { answers.isHeard = true }
        }
        answers.views[index].nanoseconds = clock.monotonicNanoseconds - start
        return answers.views[index].error == nil
    }

    /// The answer to a common query, which costs the server more to plan than to answer.
    private mutating func query(
        _ sql: String, _ session: any PostgresQuerying, isKept: Bool
    ) throws(ServiceError) -> PostgresTable {
        guard isKept else { return try session.query(sql) }
        if let name = prepared[sql], !hasStalePlans {
            // Whether a query that failed stays planned does not matter: all are planned anew.
            hasStalePlans = true
            let table = try session.query("EXECUTE \(name)")
            hasStalePlans = false
            return table
        }
        var text = ""
        if hasStalePlans || prepared.count >= Self.preparedMax {
            prepared = [:]
            text = "DEALLOCATE ALL; "
        }
        preparedCount += 1
        let name = "petrel\(preparedCount)"
        hasStalePlans = true
        let table = try session.query(text + "PREPARE \(name) AS \(sql); EXECUTE \(name)")
        hasStalePlans = false
        prepared[sql] = name
        return table
    }

    private static func key(_ scope: String, _ view: PostgresView) -> String {
        scope + "/" + view.collector + "/" + (view.columns.last?.name ?? "")
    }
}
