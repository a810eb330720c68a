import AgentStream
import Testing

@Suite struct ComplaintsTests {
    @Test func theSameWarningIsNewsOnceAnHour() {
        let complaints = Complaints()
        #expect(complaints.isNews("a", now: 5))
        #expect(!complaints.isNews("a", now: 6))
        #expect(!complaints.isNews("a", now: 4 + Complaints.repeatNanoseconds))
        #expect(complaints.isNews("a", now: 5 + Complaints.repeatNanoseconds))
        #expect(!complaints.isNews("a", now: 6 + Complaints.repeatNanoseconds))
    }

    @Test func anotherWarningIsNewsAndSoIsTheFirstAfterIt() {
        let complaints = Complaints()
        #expect(
            ["a", "b", "b", "a"].map { complaints.isNews($0, now: 0) } == [true, true, false, true])
    }

    @Test func whatComesBackAfterAllWasWellIsNews() {
        let complaints = Complaints()
        #expect(complaints.isNews("a", now: 0))
        complaints.settle()
        #expect(complaints.isNews("a", now: 1))
    }
}
