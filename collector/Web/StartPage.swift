/// `/`: what runs here and where its APIs are, in plain HTML.
enum StartPage {
    private static let links: [(path: String, text: String)] = [
        ("/prometheus/api/v1/query?query=up", "Prometheus API: a query"),
        ("/prometheus/api/v1/rules", "Prometheus API: rules"),
        ("/prometheus/api/v1/alerts", "Prometheus API: alerts"),
        ("/loki/api/v1/labels", "Loki API: labels of log streams"),
        ("/api/v1/hosts", "Hosts"),
        ("/api/v1/alerts", "Alerts"),
        ("/api/v1/deliveries", "Deliveries of notifications"),
        ("/metrics", "The collector's own metrics"),
        ("/readyz", "Readiness"),
    ]

    static func response(version: String) -> WebResponse {
        let items = links.map { "<li><a href=\"\($0.path)\">\($0.text)</a></li>" }
        let html = """
            <!doctype html>
            <html lang="en">
            <head><meta charset="utf-8"><title>Petrel</title>
            <link rel="stylesheet" href="/petrel.css"></head>
            <body>
            <h1>Petrel collector \(escaped(version))</h1>
            <p>Add this address to Grafana as a Prometheus data source with the path
            <code>/prometheus</code> and as a Loki data source, or ask with <code>petrel query</code>,
            <code>petrel logs</code> and <code>petrel alerts</code>.</p>
            <ul>
            \(items.joined(separator: "\n"))
            </ul>
            </body>
            </html>

            """
        return WebResponse(contentType: "text/html; charset=utf-8", body: Array(html.utf8))
    }

    static let style = WebResponse(
        contentType: "text/css; charset=utf-8",
        body: Array(
            """
            body { font: 16px/1.5 system-ui, sans-serif; max-width: 40em; margin: 2em auto; }
            body { padding: 0 1em; color: #222; background: #fff; }
            code { background: #eee; padding: 0 .2em; }

            """.utf8))

    private static func escaped(_ text: String) -> String {
        text.reduce(into: "") { html, character in
            switch character {
            case "&": html += "&amp;"
            case "<": html += "&lt;"
            case ">": html += "&gt;"
            case "\"": html += "&quot;"
            default: html.append(character)
            }
        }
    }
}
