//! Runs every expression of the rules and of the dashboard on a Prometheus that has scraped: it is
//! valid, every series in it exists, and it returns what it should.

use std::collections::BTreeMap;

use super::scene::Scene;
use super::{alerts, dashboard, rules, string};
use crate::support::prometheus::{self, Prometheus, Sample};
use crate::support::promql::{Matcher, Selector, selection_of};
use crate::support::wait;

/// Whether the expression returns something in the scene.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Returns {
    Something,
    Nothing,
    /// Depends on the speed of the machine.
    Either,
}

struct Expression {
    place: String,
    text: String,
    gives: Returns,
    /// The labels in a legend or a column.
    labels: Vec<String>,
}

/// Alerts that do not fire in the scene: nothing is absent, restarts or is overloaded, and nothing
/// is as old as these alerts look back.
const QUIET: [&str; 8] = [
    "KeywardAbsent",
    "KeywardConnectionsNearMaximum",
    "KeywardRestarts",
    "KeywardInternalErrors",
    "KeywardOverloaded",
    "KeywardDenialsGrow",
    "KeywardConfigNotReloaded",
    "KeywardFewerKeys",
];

fn of_rules() -> Vec<Expression> {
    let all = rules().into_iter();
    all.map(|rule| {
        let is_alert = rule["alert"].is_string();
        let name = string(&rule[if is_alert { "alert" } else { "record" }]);
        let gives = match name {
            "KeywardSlow" => Returns::Either,
            name if QUIET.contains(&name) => Returns::Nothing,
            _ => Returns::Something,
        };
        // Labels in annotations must exist; promtool's tests show the annotations of alerts that
        // return nothing here.
        let annotations = serde_yaml::to_string(&rule["annotations"]).unwrap();
        let labels = annotations.split("$labels.").skip(1).map(|rest| {
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_'));
            rest[..end.unwrap()].to_owned()
        });
        Expression {
            place: name.to_owned(),
            text: string(&rule["expr"]).to_owned(),
            gives,
            labels: labels.collect(),
        }
    })
    .collect()
}

fn of_dashboard() -> Vec<Expression> {
    let targets = dashboard::targets().into_iter();
    targets
        .map(|target| Expression {
            place: target.place,
            text: dashboard::substituted(&target.expr),
            gives: Returns::Something,
            labels: target.labels,
        })
        .collect()
}

/// The series that a selector selects, one per value in it, so that none can be misspelt.
fn named(selector: &Selector) -> Vec<Selector> {
    let with = |operator: &str, matcher: &Matcher, value: &str| Selector {
        name: selector.name.clone(),
        matchers: vec![Matcher {
            label: matcher.label.clone(),
            operator: operator.to_owned(),
            value: value.to_owned(),
        }],
    };
    let mut all = vec![selector.clone()];
    for matcher in &selector.matchers {
        match matcher.operator.as_str() {
            "=" | "!=" => all.push(with("=", matcher, &matcher.value)),
            // A label that may be absent.
            "=~" if matcher.value == ".*|" => {}
            // Prefixes and the dashboard's variables.
            "=~" if matcher.value.ends_with(".*") => {
                all.push(with("=~", matcher, &matcher.value));
                all.push(with("!=", matcher, ""));
            }
            "=~" | "!~" => {
                let values = matcher.value.split('|');
                all.extend(values.map(|value| with("=", matcher, value)));
            }
            other => panic!("{other} in {}", selector.text()),
        }
    }
    all
}

async fn looks_at_what_is_there(expression: &Expression, prometheus: &Prometheus) {
    let Expression { place, text, .. } = expression;
    let selection = selection_of(text);
    assert!(!selection.selectors.is_empty(), "{place}: {text}");
    for selector in &selection.selectors {
        for named in named(selector) {
            let named = named.text();
            assert!(prometheus.has(&named).await, "{place}: no series {named}");
        }
    }
    let labels = prometheus.api("labels", &[]).await.unwrap();
    for label in &selection.labels {
        let known = labels.as_array().unwrap().iter();
        assert!(
            known.clone().any(|known| known == label),
            "{place}: {label}"
        );
    }
}

async fn gives_what_it_should(expression: &Expression, prometheus: &Prometheus) -> Vec<Sample> {
    let Expression {
        place,
        text,
        gives,
        labels,
    } = expression;
    let samples = prometheus
        .query(text)
        .await
        .unwrap_or_else(|error| panic!("{place}: {error}: {text}"));
    match gives {
        Returns::Something => {
            let is_number = samples.iter().any(|sample| !sample.value.is_nan());
            assert!(is_number, "{place}: nothing comes of {text}: {samples:?}");
        }
        Returns::Nothing => assert!(samples.is_empty(), "{place}: {samples:?}"),
        Returns::Either => {}
    }
    for sample in &samples {
        for label in labels {
            let labels = &sample.labels;
            assert!(labels.contains_key(label), "{place}: {label} in {labels:?}");
        }
    }
    samples
}

async fn targets_are_as_they_are(scene: &Scene) {
    let answer = scene.prometheus.api("targets", &[]).await.unwrap();
    let answer = answer["activeTargets"].as_array().unwrap();
    let health = |at: std::net::SocketAddr| {
        let at = at.to_string();
        let target = answer
            .iter()
            .find(|t| t["labels"]["instance"] == at.as_str());
        let target = target.unwrap();
        (target["health"].clone(), target["lastError"].clone())
    };
    for keyward in scene.keywards() {
        let (health, error) = health(keyward.admin);
        assert_eq!((health, error), ("up".into(), "".into()));
    }
    let downs = answer.iter().filter(|target| target["health"] == "down");
    assert_eq!(downs.count(), 2, "{answer:#?}");
    let foreign = health(scene.foreign.address);
    assert_eq!(foreign, ("up".into(), "".into()));
}

/// Prometheus has evaluated the rules itself, without an error, and the alerts without a long `for`
/// fire.
async fn rules_are_evaluated(prometheus: &Prometheus) {
    wait::until("the rules are evaluated", async || {
        let answer = prometheus.api("rules", &[]).await.unwrap();
        let groups = answer["groups"].as_array().unwrap();
        let rules = groups.iter().flat_map(|g| g["rules"].as_array().unwrap());
        let mut evaluated = BTreeMap::new();
        for rule in rules {
            assert_ne!(rule["health"], "err", "{rule:#}");
            evaluated.insert(rule["name"].as_str().unwrap(), rule["state"].as_str());
        }
        // The rules for keys are evaluated every five minutes.
        evaluated.len() == alerts().len() + 1
            && evaluated["KeywardServesStaleKeys"] == Some("firing")
            && evaluated["KeywardDown"] == Some("pending")
            && evaluated["KeywardKeysNotReloaded"] == Some("pending")
    })
    .await;
}

/// With *All* in every variable, targets of other programs, in another job and the same namespace,
/// are neither counted nor shown.
async fn foreign_targets_change_nothing(prometheus: &Prometheus) {
    for foreign in [
        "up{job=\"others\"} == 1",
        "up{job=\"others\"} == 0",
        "process_open_fds{job=\"others\"}",
        "rate(process_cpu_seconds_total{job=\"others\"}[1m])",
    ] {
        prometheus.comes_to(foreign).await;
    }
    let now = jiff::Timestamp::now().as_millisecond();
    for dashboard::Target { place, expr, .. } in dashboard::targets() {
        let mut given = Vec::new();
        for job in [".*", "keyward"] {
            let samples = prometheus
                .query_at(&dashboard::of_job(&expr, job), now)
                .await;
            let mut samples: Vec<_> = samples
                .unwrap()
                .into_iter()
                .map(|sample| (sample.labels, sample.value.to_bits()))
                .collect();
            samples.sort();
            given.push(samples);
        }
        assert_eq!(given[0], given[1], "{place}");
    }
}

/// The query of a panel.
fn query_of(place: &str) -> String {
    let mut all = dashboard::targets().into_iter();
    let found = all.find(|target| target.place == place);
    dashboard::substituted(&found.unwrap().expr)
}

async fn variables_have_values(scene: &Scene) {
    let queries = dashboard::variable_queries();
    assert_eq!(queries.len(), 3);
    for (name, query) in queries {
        let inside = query
            .strip_prefix("label_values(")
            .and_then(|rest| rest.strip_suffix(')'))
            .unwrap_or_else(|| panic!("{name}: {query}"));
        let (selector, label) = inside.rsplit_once(',').unwrap();
        let selector = dashboard::substituted(selector);
        // As Grafana does.
        let path = format!("label/{}/values", label.trim());
        let values = scene.prometheus.api(&path, &[("match[]", &selector)]).await;
        let values = values.unwrap();
        let count = values.as_array().unwrap().len();
        assert_eq!(
            count,
            if name == "instance" { 4 } else { 1 },
            "{name}: {values}"
        );
    }
}

#[tokio::test]
async fn every_expression_finds_its_series_in_prometheus() {
    let scene = Scene::set().await;
    let prometheus = &scene.prometheus;
    targets_are_as_they_are(&scene).await;
    rules_are_evaluated(prometheus).await;
    for keyward in scene.keywards() {
        prometheus::is_silent_about(&keyward.fetch("/metrics").await.body);
    }
    variables_have_values(&scene).await;
    foreign_targets_change_nothing(prometheus).await;
    let expressions: Vec<_> = of_rules().into_iter().chain(of_dashboard()).collect();
    let mut given = BTreeMap::new();
    for expression in &expressions {
        looks_at_what_is_there(expression, prometheus).await;
        let samples = gives_what_it_should(expression, prometheus).await;
        given.insert(expression.place.as_str(), samples);
    }
    println!("{} expressions", expressions.len());

    let keys_of = |place: &str| -> Vec<&str> {
        let keys = given[place].iter();
        let mut keys: Vec<_> = keys.map(|s| s.labels["key_id"].as_str()).collect();
        keys.sort_unstable();
        keys
    };
    // `_other` is counted, and has neither an expiry nor a last use.
    assert_eq!(
        keys_of("Top keys A"),
        ["_other", "lasting", "one", "past", "soon"]
    );
    assert_eq!(keys_of("Expiries A"), ["one", "past", "soon"]);
    assert_eq!(keys_of("Expiries B"), ["one", "past", "soon"]);
    assert_eq!(keys_of("KeywardKeyExpiresSoon"), ["one", "soon"]);
    assert_eq!(keys_of("KeywardExpiredKeyInUse"), ["past"]);
    // A remote source loads no keys: its time is that of the start, or of the last SIGHUP.
    let loads = given["Last load A"].iter().map(|s| &s.labels["what"]);
    assert_eq!(loads.filter(|what| *what == "keys").count(), 4);
    let query = |place: &str, value: u32| format!("({}) == {value}", query_of(place));
    prometheus.comes_to(&query("Instances A", 4)).await;
    prometheus.comes_to(&query("Not answering A", 0)).await;
    scene.of_missing.process.signal("KILL");
    prometheus.comes_to(&query("Instances A", 3)).await;
    prometheus.comes_to(&query("Not answering A", 1)).await;
}
