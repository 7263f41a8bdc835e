//! Values that must be refused: by the schema or by the chart's own checks, with the path in the
//! reason.

use super::rendered;

/// A network policy rule for a remote source.
const EGRESS: &str = "networkPolicy: {egress: [{to: [{podSelector: {}}], ports: [{port: 6379}]}]}";

#[test]
fn values_that_would_not_work_or_would_open_something_are_refused() {
    for (values, expected) in [
        // unknown names, at every depth where a misspelt one would switch something off
        ("replicaCount: 3", "'replicaCount' not allowed"),
        ("tls: {secret: x}", "'secret' not allowed"),
        ("networkPolicy: {enable: true}", "'enable' not allowed"),
        ("image: {name: x}", "'name' not allowed"),
        // what the chart sets itself
        (
            "config: {server: {grpc: {address: \"127.0.0.1:9191\"}}}",
            "'grpc' not allowed",
        ),
        (
            "config: {server: {admin: {address: \"127.0.0.1:9192\"}}}",
            "'admin' not allowed",
        ),
        (
            "config: {source: {file: {path: /keys}}}",
            "'file' not allowed",
        ),
        (
            "podLabels: {app.kubernetes.io/name: x}",
            "invalid propertyName 'app.kubernetes.io/name'",
        ),
        (
            "podAnnotations: {checksum/config: x}",
            "invalid propertyName 'checksum/config'",
        ),
        // types and ranges
        ("replicas: 0", "/replicas"),
        ("replicas: \"2\"", "/replicas"),
        ("image: {digest: \"sha256:12\"}", "/image/digest"),
        ("image: {tag: \"a b\"}", "/image/tag"),
        ("image: {pullPolicy: Sometimes}", "/image/pullPolicy"),
        ("config: {server: {drain: 5}}", "/config/server/drain"),
        (
            "config: {server: {deadline: 5m}}",
            "/config/server/deadline",
        ),
        ("config: {mode: obsreve}", "/config/mode"),
        ("config: {source: {}}", "/config/source"),
        (
            "config: {source: {redis: {url: \"redis://a:1\"}, http: {url: \"https://a/{digest}\"}}}",
            "/config/source",
        ),
        ("keys: {secretName: Not_A_Name}", "/keys/secretName"),
        ("secrets: {Redis: x}", "invalid propertyName 'Redis'"),
        ("secrets: {redis: \"\"}", "/secrets/redis"),
        ("secrets: {../keys: x}", "invalid propertyName '../keys'"),
        (
            "podDisruptionBudget: {maxUnavailable: 0}",
            "/podDisruptionBudget/maxUnavailable",
        ),
        (
            "podDisruptionBudget: {maxUnavailable: 0%}",
            "/podDisruptionBudget/maxUnavailable",
        ),
        ("resources: {limit: {memory: 1Gi}}", "'limit' not allowed"),
        // rules that would allow everyone
        (
            "networkPolicy: {gateways: [{}]}",
            "/networkPolicy/gateways/0",
        ),
        ("networkPolicy: {scrapers: {}}", "/networkPolicy/scrapers"),
        ("networkPolicy: {egress: [{}]}", "/networkPolicy/egress/0"),
        (
            "networkPolicy: {egress: [{to: [], ports: [{port: 1}]}]}",
            "/networkPolicy/egress/0/to",
        ),
        (
            "networkPolicy: {egress: [{to: [{podSelector: {}}]}]}",
            "/networkPolicy/egress/0",
        ),
        // what only the combination shows
        (
            "terminationGracePeriodSeconds: 30",
            "must be longer than config.server.deadline, 30s",
        ),
        ("keys: {secretName: \"\"}", "keys.secretName is empty"),
        ("tls: {clientCaSecretName: ca}", "needs tls.secretName"),
        (
            "config: {source: {redis: {url: \"redis://a:1\"}}}",
            "networkPolicy.egress is empty",
        ),
        (
            "config: {limits: {redis: {url: \"redis://a:1\"}}}",
            "networkPolicy.egress is empty",
        ),
    ] {
        let error = match rendered(values) {
            Ok(all) => panic!("{values} is taken:\n{}", all.text),
            Err(error) => error,
        };
        assert!(error.contains(expected), "{values}: {error}");
    }
}

#[test]
fn similar_valid_values_are_accepted() {
    let remote =
        |rest: &str| format!("config: {{source: {{redis: {{url: \"redis://a:1\"}}}}}}\n{rest}");
    for values in [
        "global: {anything: true}".into(),
        "terminationGracePeriodSeconds: 31".into(),
        "config: {server: {deadline: 600s}}\nterminationGracePeriodSeconds: 630".into(),
        "podDisruptionBudget: {maxUnavailable: 50%}".into(),
        "podLabels: {team: edge}\npodAnnotations: {team: edge}".into(),
        remote(EGRESS),
        remote("networkPolicy: {enabled: false}"),
        // No Secret of keys is needed then.
        remote(&format!("{EGRESS}\nkeys: {{secretName: \"\"}}")),
    ] {
        rendered(&values).unwrap_or_else(|error| panic!("{values}: {error}"));
    }
}
