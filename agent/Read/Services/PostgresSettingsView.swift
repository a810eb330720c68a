import Model

/// The server's parameters that are numbers or switches. Source: postgres_exporter 0.20 `pg_setting.go`.
extension PostgresView {
    /// What the agent's own session or role sets does not show what the server is set to: of the first the value before
    /// is taken, the second is left out, and a read-only transaction counts as a standby's only.
    static let settings = PostgresView(
        "settings",
        [
            .other("name"),
            .other(
                "setting",
                "CASE WHEN name = 'transaction_read_only' THEN pg_is_in_recovery()::text "
                    + "WHEN source = 'session' THEN reset_val ELSE setting END"),
            .other("unit", "COALESCE(unit, '')"), .other("vartype"),
        ],
        from: "pg_settings WHERE vartype IN ('bool', 'integer', 'real') "
            + "AND name NOT IN ('sync_commit_cancel_wait', 'google_dataplex.max_messages') "
            + "AND name NOT IN (SELECT split_part(o.entry, '=', 1) FROM pg_db_role_setting r "
            + "CROSS JOIN LATERAL unnest(r.setconfig) AS o(entry) WHERE r.setrole = "
            + "(SELECT oid FROM pg_roles WHERE rolname = current_user)) ORDER BY name",
        refreshSeconds: 60
    ) { rows in
        let (name, setting) = (rows.place("name"), rows.place("setting"))
        let (unit, kind) = (rows.place("unit"), rows.place("vartype"))
        var seen: Set<String> = []
        return rows.rows.compactMap { row in
            guard let parameter = row[name], let text = row[setting],
                let family = PostgresSetting(
                    name: parameter, setting: text, unit: row[unit] ?? "",
                    isSwitch: row[kind] == "bool"
                )?.family, seen.insert(family.name).inserted
            else { return nil }
            return family
        }
    }
}

/// One parameter in Prometheus's units.
struct PostgresSetting {
    let family: MetricFamily

    /// Nil for a value that is no number and for a unit that is not known.
    init?(name: String, setting: String, unit: String, isSwitch: Bool) {
        var metric = String(
            decoding: name.utf8.map { Self.isNamePart($0) ? $0 : UInt8(ascii: "_") },
            as: UTF8.self)
        var help = "Server Parameter: \(name)"
        let value: Double
        if isSwitch {
            value = PostgresRows.number(setting) == 1 ? 1 : 0
        } else {
            guard let number = Double(setting), let unit = Unit(unit) else { return nil }
            if !unit.name.isEmpty {
                metric += "_" + unit.name
                help += " [Units converted to \(unit.name).]"
            }
            // -1 means that the parameter is off, or taken from another one.
            value = number == -1 ? number : number * unit.factor / unit.divisor
        }
        family = .gauge("pg_settings_" + metric, help: help, value)
    }

    private static func isNamePart(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
            true
        default: false
        }
    }

    /// A unit of pg_settings: what its values are in, and what one of it is of that.
    private struct Unit {
        let name: String
        let factor: Double
        /// Apart from `factor`: a division by 1000 is exact where a multiplication by 0.001 is not.
        let divisor: Double

        /// `8kB` is a unit too.
        init?(_ text: String) {
            let digits = text.prefix { $0.isASCII && $0.isNumber }
            let count = digits.isEmpty ? 1 : Double(digits)
            guard let count, let known = Self.known[String(text.dropFirst(digits.count))]
            else { return nil }
            name = known.name
            factor = count * known.factor
            divisor = known.divisor
        }

        private static let known: [String: (name: String, factor: Double, divisor: Double)] = [
            "": ("", 1, 1), "us": ("seconds", 1, 1_000_000), "ms": ("seconds", 1, 1_000),
            "s": ("seconds", 1, 1), "min": ("seconds", 60, 1), "h": ("seconds", 3_600, 1),
            "d": ("seconds", 86_400, 1), "B": ("bytes", 1, 1), "kB": ("bytes", 1_024, 1),
            "MB": ("bytes", 1_048_576, 1), "GB": ("bytes", 1_073_741_824, 1),
            "TB": ("bytes", 1_099_511_627_776, 1),
        ]
    }
}
