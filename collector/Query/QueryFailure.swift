package import LogQL
import PromQL
package import Storage

/// Why a query has no answer. `kind` decides the status of every HTTP surface.
package struct QueryFailure: Error, Hashable, Sendable, CustomStringConvertible {
    /// Source: Prometheus 3.14's error types and their status codes.
    package enum Kind: String, Hashable, Sendable {
        /// The question is malformed: 400.
        case badData = "bad_data"
        /// The question is well formed and can't be answered: 422.
        case execution
        /// The asker went away: 499.
        case canceled
        /// The time given was not enough: 503.
        case timeout
        /// A defect of ours: 500.
        case `internal`
        /// 404.
        case notFound = "not_found"
        /// The storage, or a place in the queue, is not to be had now: 503.
        case unavailable

        package var status: Int {
            switch self {
            case .badData: 400
            case .execution: 422
            case .canceled: 499
            case .timeout, .unavailable: 503
            case .internal: 500
            case .notFound: 404
            }
        }
    }

    package var kind: Kind
    /// For a person; names what is wrong, and the remedy where there is one.
    package var message: String

    package init(_ kind: Kind, _ message: String) {
        self.kind = kind
        self.message = message
    }

    package var description: String { message }

    /// The same trouble as a query's asker sees it.
    package init(_ error: StorageError) {
        switch error {
        case .unavailable(let text): self.init(.unavailable, "storage is unavailable: \(text)")
        case .exhausted(let text): self.init(.unavailable, "storage is exhausted: \(text)")
        case .limitExceeded(let limit, let maximum):
            self.init(
                .execution,
                "query reads too much: the limit \(limit) is \(maximum); "
                    + "narrow the selector or the time range")
        case .seriesRemoved: self.init(.unavailable, "a series was removed meanwhile; ask again")
        case .badMatcher(let text): self.init(.badData, text)
        case .corrupt(let text): self.init(.internal, "stored data does not decode: \(text)")
        case .refused(let text): self.init(.internal, "storage refused the query: \(text)")
        case .cancelled: self.init(.canceled, "query was canceled in query execution")
        }
    }

    /// What is wrong with a LogQL query, in its engine's words.
    package init(_ error: LogQLError) {
        switch error {
        case .syntax: self.init(.badData, error.description)
        case .limit: self.init(.execution, error.description)
        }
    }

    /// The same of a metric query.
    package init(_ error: MetricError) {
        switch error {
        case .query(let error): self.init(error)
        case .rangeTooLong, .tooManyPoints, .badTimes, .literalOperand, .instantOnly:
            self.init(.badData, error.description)
        case .pipeline, .tooManySeries, .tooMuchMemory, .duplicateSeries, .manyToOneNotExplicit,
            .groupingNotUnique:
            self.init(.execution, error.description)
        case .outOfOrder: self.init(.internal, error.description)
        }
    }

    /// Any error, one of the above where it is one.
    package init(any error: any Error) {
        switch error {
        case let error as QueryFailure: self = error
        case let error as StorageError: self.init(error)
        case let error as PromQL.QueryError:
            self.init(Kind(rawValue: error.errorType) ?? .execution, error.description)
        case let error as LogQLError: self.init(error)
        case let error as MetricError: self.init(error)
        case is CancellationError:
            self.init(.canceled, "query was canceled in query execution")
        default: self.init(.internal, "\(error)")
        }
    }
}
