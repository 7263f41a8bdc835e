//! Rules and monitors as files: accepted, tested with series, and one with what is made of them.

use super::{alerts, documents, path, string, text, yaml};
use crate::support::prometheus::promtool;

/// promtool's verdict on a file of `deploy/prometheus`.
fn judged(command: &[&str], file: &str) -> String {
    let file = path("prometheus").join(file);
    let (success, said) = promtool(&[command, &[file.to_str().unwrap()]].concat(), b"");
    assert!(success, "{said}");
    said
}

#[test]
fn promtool_accepts_rules_and_configuration() {
    let said = judged(&["check", "rules"], "rules.yaml");
    assert!(said.contains("SUCCESS: 21 rules found"), "{said}");
    let said = judged(&["check", "config"], "prometheus.yaml");
    assert!(said.contains("SUCCESS: 1 rule files found"), "{said}");
}

#[test]
fn alerts_fire_on_the_series_that_should_and_on_no_others() {
    let said = judged(&["test", "rules"], "rules.test.yaml");
    assert!(said.contains("SUCCESS"), "{said}");
}

#[test]
fn each_alert_is_tested_with_series_that_fire_it_and_series_that_do_not() {
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
        // promtool takes a name that is not there for an alert that does not fire.
        assert!(alerts().iter().any(|(known, _)| known == name), "{name}");
    }
}

#[test]
fn the_operators_rules_are_made_of_the_plain_ones() {
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
fn monitors_find_the_ports_and_name_the_jobs_that_the_rules_look_for() {
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
