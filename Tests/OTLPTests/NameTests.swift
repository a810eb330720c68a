import OTLP
import Testing

/// Names and units. Source of the expectations: prometheus/otlptranslator 1.0 (`metric_namer_test.go`,
/// `label_namer_test.go`, `unit_namer_test.go`).
@Suite("OTLP names")
struct NameTests {
    @Test(
        "metrics",
        arguments: [
            ("http.server.duration", "s", .other, "http_server_duration_seconds"),
            ("system.io", "foo/bar", .counter, "system_io_foo_per_bar_total"),
            ("system.network.dropped", "{packets}", .counter, "system_network_dropped_total"),
            ("system.filesystem.usage", "By", .other, "system_filesystem_usage_bytes"),
            ("system.cpu.utilization", "1", .gauge, "system_cpu_utilization_ratio"),
            (
                "active_directory.ds.replication.network.io", "By", .counter,
                "active_directory_ds_replication_network_io_bytes_total"
            ),
            ("memory_bytes_used", "By", .gauge, "memory_bytes_used"),
            ("requests.total.count", "1", .counter, "requests_count_total"),
            ("ratio.of.x", "1", .gauge, "of_x_ratio"),
            ("memcached.operation_hit_ratio", "%", .gauge, "memcached_operation_hit_ratio_percent"),
            ("astro.light.speed", "m/s", .gauge, "astro_light_speed_meters_per_second"),
            ("hertz", "Hz", .gauge, "hertz"),
            ("by", "By/m", .gauge, "by_bytes_per_minute"),
            ("a", "TiBy", .gauge, "a_tibibytes"),
            ("broken.per", "foobar/{things}", .gauge, "broken_per_foobar"),
            ("a", "{b}/s", .gauge, "a_per_second"),
            ("a", "1/%", .gauge, "a"),
            ("a", "m^2", .gauge, "a_m_2"),
            ("__a..b__c", "", .other, "a_b_c"),
            ("3.14 digits", "", .gauge, "_3_14_digits"),
            ("envoy:rule", "", .gauge, "envoy:rule"),
            ("été", "", .gauge, "t"),
            (" s ", " s ", .gauge, "s_seconds"),
            ("total", "", .counter, "total"),
            ("", "", .other, nil),
            ("...", "", .other, nil),
            ("日本", "", .gauge, nil),
        ] as [(String, String, MetricNames.Kind, String?)])
    func metrics(name: String, unit: String, kind: MetricNames.Kind, expected: String?) {
        #expect(MetricNames.metric(name, unit: unit, kind) == expected)
    }

    @Test(
        "labels",
        arguments: [
            ("http.method", "http_method"), ("label:with:colons", "label_with_colons"),
            ("LabelWithCapitals", "LabelWithCapitals"), ("123label", "key_123label"),
            ("_private", "key_private"), ("__reserved__", "__reserved__"),
            ("a..b", "a__b"), ("a__b", "a__b"), ("ö", "key_"), ("", nil), ("__", nil),
            ("..", nil), (".", "key_"), ("日本", nil),
        ] as [(String, String?)])
    func labels(key: String, expected: String?) {
        #expect(MetricNames.label(key) == expected)
    }

    @Test(
        "units",
        arguments: [
            ("s", "seconds"), ("By/s", "bytes_per_second"), ("1", ""), ("%", "percent"),
            ("requests/s", "requests_per_second"), ("{req}", ""), ("{req}/m", "per_minute"),
            ("a/b/c", "a_per_b_c"), ("", ""), ("mo", "mo"), ("/y", "per_year"), ("%%", ""),
        ])
    func units(unit: String, expected: String) {
        #expect(MetricNames.unit(unit) == expected)
    }
}
