import Model

/// A column of a view's query: a label, the value of a metric, or what the view's own mapping uses.
struct PostgresColumn: Sendable {
    enum Use: Sendable {
        case label
        case metric(MetricType, help: String)
        case other
    }

    /// The label's name, or what follows `pg_<collector>_` in the metric's.
    let name: String
    /// SQL; may be NULL, which leaves the point out.
    let expression: String
    let use: Use
    /// Whether the metric's name is `name` and nothing else.
    var isWhole = false

    static func label(_ name: String, _ expression: String? = nil) -> Self {
        Self(name: name, expression: expression ?? name, use: .label)
    }

    static func gauge(_ name: String, _ expression: String? = nil, _ help: String) -> Self {
        Self(name: name, expression: expression ?? name, use: .metric(.gauge, help: help))
    }

    /// A gauge whose name does not tell its collector.
    static func whole(_ name: String, _ expression: String, _ help: String) -> Self {
        Self(name: name, expression: expression, use: .metric(.gauge, help: help), isWhole: true)
    }

    static func counter(_ name: String, _ expression: String? = nil, _ help: String) -> Self {
        Self(name: name, expression: expression ?? name, use: .metric(.counter, help: help))
    }

    static func other(_ name: String, _ expression: String? = nil) -> Self {
        Self(name: name, expression: expression ?? name, use: .other)
    }
}

/// A view of PostgreSQL's statistics: its query for one version of the server, and how its answer becomes families.
///
/// What a view names is in `pg_catalog`, which is all of the session's search path.
struct PostgresView: Sendable {
    /// postgres_exporter's name of the collector; several views may share one.
    let collector: String
    let columns: [PostgresColumn]
    /// What follows FROM, without a semicolon; nil for a query without tables.
    let from: String?
    /// Seconds for which an answer is good enough; 0: until the next reading.
    let refreshSeconds: Int64
    let map: @Sendable (PostgresRows) -> [MetricFamily]

    /// A view whose metric columns each are a family, with the label columns as labels.
    init(
        _ collector: String, _ columns: [PostgresColumn], from: String?, refreshSeconds: Int64 = 0,
        map: @escaping @Sendable (PostgresRows) -> [MetricFamily] = { $0.families() }
    ) {
        self.collector = collector
        self.columns = columns
        self.from = from
        self.refreshSeconds = refreshSeconds
        self.map = map
    }

    /// The query for this view alone.
    var sql: String {
        let list = columns.map { "\($0.expression) AS \"\($0.name)\"" }.joined(separator: ", ")
        return "SELECT " + list + (from.map { " FROM " + $0 } ?? "")
    }

    /// The families of an answer to `sql`.
    func families(_ table: PostgresTable) -> [MetricFamily] {
        map(PostgresRows(collector: collector, columns: columns, rows: table.rows, offset: 0))
    }
}

/// One query for several views, so that they cost one round trip: each row begins with the position of its view, and
/// is as long as the widest.
struct PostgresBatch {
    let views: [PostgresView]

    static let separator = "\nUNION ALL\n"

    var sql: String {
        let width = views.map(\.columns.count).max() ?? 0
        return views.enumerated().map { position, view in
            let names = view.columns.indices.map { "c\($0)" }
            let texts =
                names.map { "t.\($0)::text" }
                + Array(repeating: "NULL", count: width - view.columns.count)
            return "SELECT \(position)::text, " + texts.joined(separator: ", ")
                + " FROM (\(view.sql)) AS t(" + names.joined(separator: ", ") + ")"
        }.joined(separator: Self.separator)
    }

    /// The families of each view.
    func families(_ table: PostgresTable) -> [[MetricFamily]] {
        var rows: [[[String?]]] = Array(repeating: [], count: views.count)
        for row in table.rows {
            guard case let position?? = row.first, let index = Int(position),
                rows.indices.contains(index)
            else { continue }
            rows[index].append(row)
        }
        return zip(views, rows).map { view, rows in
            view.map(
                PostgresRows(
                    collector: view.collector, columns: view.columns, rows: rows, offset: 1))
        }
    }
}

/// The rows that answer a view.
struct PostgresRows {
    let collector: String
    let columns: [PostgresColumn]
    /// Each has `offset` values before those of `columns`, and may have more behind them.
    let rows: [[String?]]
    let offset: Int

    init(collector: String, columns: [PostgresColumn], rows: [[String?]], offset: Int) {
        self.collector = collector
        self.columns = columns
        self.rows = rows.filter { $0.count >= offset + columns.count }
        self.offset = offset
    }

    /// The place of a column in each row. Asked for a name that the view has not, which is a fault of this program.
    func place(_ name: String) -> Int {
        guard let index = columns.firstIndex(where: { $0.name == name }) else {
            preconditionFailure("\(collector) has no column \(name)")
        }
        return offset + index
    }

    /// A family of each metric column.
    func families() -> [MetricFamily] {
        families(labels: columns.filter { if case .label = $0.use { true } else { false } })
    }

    /// A family of each metric column, or of those in `only`, with these columns as labels.
    func families(labels: [PostgresColumn], only: Set<String>? = nil) -> [MetricFamily] {
        let lines = lines(labels: labels)
        return columns.compactMap { column in
            guard case .metric(let type, let help) = column.use, only?.contains(column.name) ?? true
            else { return nil }
            let place = place(column.name)
            let points = lines.compactMap { line in
                Self.number(line.row[place]).map { MetricFamily.Point(line.labels, $0) }
            }
            return points.isEmpty
                ? nil
                : MetricFamily(
                    column.isWhole ? column.name : "pg_\(collector)_\(column.name)", type,
                    help: help, points: points)
        }
    }

    /// The rows with the labels that `columns` make, sorted by them; of rows with the same labels the first only.
    func lines(labels columns: [PostgresColumn]) -> [(labels: Labels, row: [String?])] {
        let sorted = columns.sorted { bytesPrecede($0.name, $1.name) }
        let places = sorted.map { (name: $0.name, place: place($0.name)) }
        let lines = rows.map { row in
            (
                labels: Labels(
                    sortedUnchecked: places.compactMap { name, place in
                        row[place].flatMap { $0.isEmpty ? nil : Label(name, $0) }
                    }), row: row
            )
        }.sorted { $0.labels < $1.labels }
        return lines.enumerated().filter {
            $0.offset == 0 || lines[$0.offset - 1].labels != $0.element.labels
        }.map(\.element)
    }

    /// A number, or 1 and 0 for a truth value; nil for NULL and for what is neither.
    static func number(_ text: String?) -> Double? {
        switch text {
        case nil: nil
        case "t", "true", "on": 1
        case "f", "false", "off": 0
        case let text?: Double(text)
        }
    }
}
