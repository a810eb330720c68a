import CollectorWeb
import Glibc
import Model
import PromQLSyntax
import Startup

extension ServerFacts {
    /// What `configuration` and this process are.
    init(_ configuration: CollectorConfiguration, startedAt: TimestampMS) {
        let retention = configuration.retention.age.description
        self.init(
            startedAt: startedAt, workingDirectory: configuration.dataDirectory,
            hostName: CollectorConfiguration.machineName,
            coreCount: sysconf(Int32(_SC_NPROCESSORS_ONLN)),
            retention: retention,
            flags: [
                "config.file": CommonOptions.standardFile,
                "enable-feature": configuration.queryFeatures.map(\.rawValue).sorted()
                    .joined(separator: ","),
                "query.lookback-delta": "5m",
                "query.max-concurrency": "\(configuration.queriesMax)",
                "query.max-samples": "\(configuration.querySamplesMax)",
                "query.timeout": configuration.queryTimeout.description,
                "storage.tsdb.path": configuration.dataDirectory,
                "storage.tsdb.retention.size": "\(configuration.retention.metricBytesMax ?? 0)B",
                "storage.tsdb.retention.time": retention,
                "web.enable-admin-api": "\(configuration.httpOffersAdministration)",
                "web.external-url": configuration.externalURL,
                "web.listen-address": configuration.http.description,
            ], configurationYAML: configuration.prometheusYAML)
    }
}

extension CollectorConfiguration {
    /// The settings that a Prometheus configuration file has too, as such a file. Holds no secret.
    fileprivate var prometheusYAML: String {
        var text = """
            global:
              scrape_interval: 15s
              scrape_timeout: 15s
              evaluation_interval: \(evaluationInterval)

            """
        if !ruleFiles.isEmpty {
            text += "rule_files:\n"
            for file in ruleFiles {
                // Between single quotes YAML has one escape: a quote is doubled.
                text += "- '\(file.replacing("'", with: "''"))'\n"
            }
        }
        return text + "scrape_configs:\n- job_name: petrel-agent\n"
    }
}
