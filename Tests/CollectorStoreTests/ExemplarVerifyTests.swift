import CollectorStore
import Model
import Postgres
import Storage
import Testing

/// What `petrel-collector verify` says of exemplars.
extension StoreTests {
    @Test("verify finds exemplars that are not what they should be")
    func verifyExemplars() async throws {
        try await TestCluster.with { cluster in
            let store = try await TestCluster.store(in: cluster, name: "verify_exemplars")
            let id = try #require(try await store.internPushed([definition(["__name__": "a"])])[0])
            var batch = SampleBatch(
                runs: [SampleBatch.Run(series: id, sampleCount: 1)], timestamps: [Self.base],
                values: [1])
            batch.exemplars = (0..<5).map { number in
                PushedExemplar(
                    series: id,
                    exemplar: Exemplar(
                        labels: ["trace_id": "t\(number)"], value: 1,
                        timestamp: TimestampMS(Self.base - Int64(number))))
            }
            #expect(try await store.storeSamples(batch).storedExemplars == 5)
            let sound = try await StoreVerifier(store).verify()
            #expect(sound.isSound && sound.exemplarCount == 5, "\(sound)")
            let day = Self.base / 86_400_000
            // A NaN that a dump has made another is no fault.
            try await TestCluster.execute(
                """
                UPDATE petrel.exemplar SET value = 'NaN' WHERE trace_id = 't4';
                UPDATE petrel.exemplar SET series_id = 77 WHERE trace_id = 't0';
                UPDATE petrel.exemplar SET ts = ts - 86400000 WHERE trace_id = 't1';
                UPDATE petrel.exemplar SET label_key = '\\x05' WHERE trace_id = 't2';
                UPDATE petrel.exemplar SET trace_id = 'other' WHERE trace_id = 't3';
                """, on: "verify_exemplars", in: cluster)
            let found = Set(try await StoreVerifier(store).verify().problems)
            let name = "exemplar of series \(id.rawValue) at"
            #expect(
                found == [
                    "exemplar of series 77 at \(Self.base): the series is unknown",
                    "\(name) \(Self.base - 1 - 86_400_000): it stands on day \(day)",
                    "\(name) \(Self.base - 2): its digest is that of another",
                    "\(name) \(Self.base - 2): the label key does not decode",
                    "\(name) \(Self.base - 3): another trace than its labels say",
                ])
            await store.close()
        }
    }
}
