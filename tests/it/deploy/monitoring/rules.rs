//! Rules and monitors as files: valid, tested with series, and prometheusrule.yaml equal to
//! rules.yaml.

use super::{alerts, documents, path, string, text, yaml};
use crate::support::prometheus::promtool;

/// The output of promtool on a file of `deploy/prometheus`.
fn checked_output(command: &[&str], file: &str) -> String {
    let file = path("prometheus").join(file);
    let (success, output) = promtool(&[command, &[file.to_str().unwrap()]].concat(), b"");
    assert!(success, "{output}");
    output
}

#[test]
fn promtool_accepts_rules_and_configuration() {
    let output = checked_output(&["check", "rules"], "rules.yaml");
    assert!(output.contains("SUCCESS: 21 rules found"), "{output}");
    let output = checked_output(&["check", "config"], "prometheus.yaml");
    assert!(output.contains("SUCCESS: 1 rule files found"), "{output}");
}

#[test]
fn alerts_fire_on_the_intended_series_only() {
    let output = checked_output(&["test", "rules"], "rules.test.yaml");
    assert!(output.contains("SUCCESS"), "{output}");
}

#[test]
fn each_alert_has_series_that_fire_it_and_series_that_do_not() {
    let tests = yaml("prometheus/rules.test.yaml");
    let tests = tests["tests"].as_sequence().unwrap();
    let cases: Vec<_> = tests
        .iter()
        .flat_map(|test| test["alert_rule_test"].as_sequence().unwrap())
        .collect();
    for (name, _) in alerts() {
        let of_alert = cases.iter().filter(|case| case["alertname"] == *name);
        let (quiet, firing): (Vec<&&serde_yaml::Value>, Vec<_>) =
            of_alert.partition(|case| case["exp_alerts"].as_sequence().unwrap().is_empty());
        assert!(!quiet.is_empty(), "{name} is never seen quiet");
        assert!(!firing.is_empty(), "{name} is never seen firing");
    }
    for case in cases {
        let name = string(&case["alertname"]);
        // promtool treats an unknown name as an alert that does not fire.
        assert!(alerts().iter().any(|(known, _)| known == name), "{name}");
    }
}

#[test]
fn the_prometheus_rule_is_generated_from_the_plain_rules() {
    let name = "prometheus/prometheusrule.yaml";
    let made = text(name);
    let (head, body) = made.split_once("\nspec:\n").unwrap();
    let rules = text("prometheus/rules.yaml");
    let mut indented = String::new();
    for line in rules.split_inclusive('\n') {
        if line != "\n" {
            indented.push_str("  ");
        }
        indented.push_str(line);
    }
    let command = head.lines().find(|line| line.contains("sed '/^spec:/q'"));
    assert!(
        body == indented,
        "{name} is not what rules.yaml makes; in deploy/prometheus run\n{}",
        command.unwrap().trim_start_matches(['#', ' '])
    );
    let made = yaml(name);
    assert_eq!(made["kind"], "PrometheusRule");
    assert_eq!(made["spec"], yaml("prometheus/rules.yaml"));
}

#[test]
fn monitors_select_the_ports_and_name_the_jobs_of_the_rules() {
    let pods = yaml("prometheus/podmonitor.yaml");
    let endpoint = &pods["spec"]["podMetricsEndpoints"][0];
    assert_eq!(endpoint["port"], "keyward-admin");
    let services = documents("prometheus/servicemonitor.yaml");
    let [service, monitor] = &services[..] else {
        panic!("a Service and its monitor");
    };
    let port = &service["spec"]["ports"][0];
    assert_eq!(port["targetPort"], endpoint["port"]);
    let behind = &monitor["spec"]["endpoints"][0];
    assert_eq!(behind["port"], port["name"]);
    assert_eq!(behind["port"], "admin");
    let labels = &service["metadata"]["labels"];
    for (name, value) in monitor["spec"]["selector"]["matchLabels"]
        .as_mapping()
        .unwrap()
    {
        assert_eq!(&labels[name], value, "the monitor finds its Service");
    }
    for endpoint in [endpoint, behind] {
        assert_eq!(endpoint["path"], "/metrics");
        assert_eq!(endpoint["interval"], "30s");
        let job = &endpoint["relabelings"][0];
        assert_eq!(job["targetLabel"], "job");
        assert!(string(&job["replacement"]).contains("keyward"));
    }
    let plain = yaml("prometheus/prometheus.yaml");
    let scrape = &plain["scrape_configs"][0];
    assert!(string(&scrape["job_name"]).contains("keyward"));
    assert_eq!(plain["rule_files"][0], "rules.yaml");
}
