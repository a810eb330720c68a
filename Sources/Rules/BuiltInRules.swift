package import YAMLDocument

/// The rules that hold without any configuration, written as a rule file.
package enum BuiltInRules {
    /// The name under which they appear where a file's name would.
    package static let file = "built-in"

    /// The groups of `text`.
    package static func groups(
        validateExpression: (String) -> String?
    ) throws(YAMLError) -> [RuleGroup] {
        try RuleFile.parse(text, file: file, validateExpression: validateExpression)
    }

    /// A rule file. `petrel_agent_up` is written by the collector for every enrolled host: 1, or 0 after 30 s without a
    /// heartbeat.
    package static let text = #"""
        groups:
          - name: petrel
            interval: 5s
            rules:
              - alert: AgentDown
                expr: petrel_agent_up == 0
                for: 0s
                labels:
                  severity: critical
                annotations:
                  summary: "{{ $labels.host }} has gone silent"
                  description: >-
                    The agent on {{ $labels.host }} has not been heard for 30 seconds. Either the host is
                    down, the network between it and the collector is cut, or petrel-agent has stopped.
                    Other alerts of this host can't be trusted until it is back. On the host:
                    systemctl status petrel-agent.
              - alert: DiskFull
                expr: |
                  (
                    node_filesystem_avail_bytes{fstype!~"tmpfs|ramfs|devtmpfs|overlay|squashfs|iso9660|udf|erofs|fuse.lxcfs|nsfs"}
                    / node_filesystem_size_bytes * 100 < 10
                  ) and node_filesystem_readonly == 0
                for: 5m
                labels:
                  severity: warning
                annotations:
                  summary: >-
                    {{ $labels.mountpoint }} on {{ $labels.host }} has {{ printf "%.1f" $value }} % left
                  description: >-
                    The file system {{ $labels.mountpoint }} ({{ $labels.device }}, {{ $labels.fstype }})
                    on {{ $labels.host }} has been below 10 % free for 5 minutes; now
                    {{ printf "%.1f" $value }} %. See what grows with: du -xh {{ $labels.mountpoint }} | sort -h | tail.
              - alert: DiskFull
                expr: |
                  (
                    node_filesystem_avail_bytes{fstype!~"tmpfs|ramfs|devtmpfs|overlay|squashfs|iso9660|udf|erofs|fuse.lxcfs|nsfs"}
                    / node_filesystem_size_bytes * 100 < 5
                  ) and node_filesystem_readonly == 0
                for: 1m
                labels:
                  severity: critical
                annotations:
                  summary: >-
                    {{ $labels.mountpoint }} on {{ $labels.host }} is nearly full:
                    {{ printf "%.1f" $value }} % left
                  description: >-
                    The file system {{ $labels.mountpoint }} ({{ $labels.device }}, {{ $labels.fstype }})
                    on {{ $labels.host }} has {{ printf "%.1f" $value }} % free. What writes there will fail soon:
                    free space now, then look for the cause with: du -xh {{ $labels.mountpoint }} | sort -h | tail.
              - alert: SeriesLimitReached
                expr: petrel_series_refused_label_values
                for: 0s
                labels:
                  severity: warning
                annotations:
                  summary: >-
                    New series are refused: {{ with $labels.metric }}{{ . }} has grown{{ else }}the number of metrics has grown{{ end }}
                  description: >-
                    A limit of series is reached (scope {{ $labels.scope }}{{ with $labels.host }}, from {{ . }}{{ end }}).
                    Series that exist go on, new ones are dropped. What grew:
                    {{ with $labels.metric }}the metric {{ . }}{{ else }}metric names{{ end }}{{ with $labels.label }},
                    by its label {{ . }} with {{ printf "%.0f" $value }} values{{ end }}. Stop the sender from putting
                    ids into labels, or raise limits.series_* in collector.yaml. What is stored of it goes with:
                    POST /prometheus/api/v1/admin/tsdb/delete_series, where http.admin is true. This ends ten minutes after the last refusal.
              - alert: Watchdog
                expr: vector(1)
                labels:
                  severity: none
                annotations:
                  summary: Alerting works
                  description: >-
                    This alert always fires. Route it to a service that raises an alarm when it stops
                    arriving: then rules are no longer evaluated or messages no longer leave.
        """#
}
