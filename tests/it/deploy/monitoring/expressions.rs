//! Every expression of the rules and of the dashboard, asked of a Prometheus that has scraped: it is one, every series that it
//! looks at is there, and it gives what it should.

use std::collections::BTreeMap;

use super::scene::Scene;
use super::{alerts, dashboard, rules, string};
use crate::support::prometheus::{self, Prometheus, Sample};
use crate::support::promql::{Matcher, Selector, looked_at};
use crate::support::wait;

/// Whether something comes of it in the scene.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gives {
    Something,
    Nothing,
    /// How fast the machine is decides.
    Either,
}

struct Expression {
    place: String,
    text: String,
    gives: Gives,
    /// What a legend or a column shows.
    labels: Vec<String>,
}

/// What does not fire in the scene: nothing is absent, restarts or overloads, and nothing is as old as these alerts look back.
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
            "KeywardSlow" => Gives::Either,
            name if QUIET.contains(&name) => Gives::Nothing,
            _ => Gives::Something,
        };
        // What annotations name must be there; of the alerts that give nothing promtool's tests show the annotations.
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
            gives: Gives::Something,
            labels: target.labels,
        })
        .collect()
}

/// The series that a selector asks for, one for each value that it names: none may be a misspelling.
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
    let looked = looked_at(text);
    assert!(!looked.selectors.is_empty(), "{place}: {text}");
    for selector in &looked.selectors {
        for named in named(selector) {
            let named = named.text();
            assert!(prometheus.has(&named).await, "{place}: no series {named}");
        }
    }
    let labels = prometheus.api("labels", &[]).await.unwrap();
    for label in &looked.labels {
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
        Gives::Something => {
            let is_number = samples.iter().any(|sample| !sample.value.is_nan());
            assert!(is_number, "{place}: nothing comes of {text}: {samples:?}");
        }
        Gives::Nothing => assert!(samples.is_empty(), "{place}: {samples:?}"),
        Gives::Either => {}
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
    let told = scene.prometheus.api("targets", &[]).await.unwrap();
    let told = told["activeTargets"].as_array().unwrap();
    let health = |at: std::net::SocketAddr| {
        let at = at.to_string();
        let target = told.iter().find(|t| t["labels"]["instance"] == at.as_str());
        let target = target.unwrap();
        (target["health"].clone(), target["lastError"].clone())
    };
    for keyward in scene.keywards() {
        let (health, error) = health(keyward.admin);
        assert_eq!((health, error), ("up".into(), "".into()));
    }
    let downs = told.iter().filter(|target| target["health"] == "down");
    assert_eq!(downs.count(), 2, "{told:#?}");
    let foreign = health(scene.foreign.address);
    assert_eq!(foreign, ("up".into(), "".into()));
}

/// Prometheus has evaluated the rules by itself, without an error, and the alerts that want no patience fire.
async fn rules_are_evaluated(prometheus: &Prometheus) {
    wait::until("the rules are evaluated", async || {
        let told = prometheus.api("rules", &[]).await.unwrap();
        let groups = told["groups"].as_array().unwrap();
        let rules = groups.iter().flat_map(|g| g["rules"].as_array().unwrap());
        let mut evaluated = BTreeMap::new();
        for rule in rules {
            assert_ne!(rule["health"], "err", "{rule:#}");
            evaluated.insert(rule["name"].as_str().unwrap(), rule["state"].as_str());
        }
        // The rules of keys are evaluated every five minutes.
        evaluated.len() == alerts().len() + 1
            && evaluated["KeywardServesStaleKeys"] == Some("firing")
            && evaluated["KeywardDown"] == Some("pending")
            && evaluated["KeywardKeysNotReloaded"] == Some("pending")
    })
    .await;
}

/// With *All* in every variable, nothing of the foreign targets, of another job and the same namespace, is counted or shown.
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
        // As Grafana asks.
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
async fn every_expression_finds_its_series_in_what_prometheus_scrapes() {
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
    // `_other` is counted and neither expires nor was last used.
    assert_eq!(
        keys_of("Top keys A"),
        ["_other", "lasting", "one", "past", "soon"]
    );
    assert_eq!(keys_of("Expiries A"), ["one", "past", "soon"]);
    assert_eq!(keys_of("Expiries B"), ["one", "past", "soon"]);
    assert_eq!(keys_of("KeywardKeyExpiresSoon"), ["one", "soon"]);
    assert_eq!(keys_of("KeywardExpiredKeyInUse"), ["past"]);
    // A remote source loads no keys: its time is that of the start, or of the last order to look all up anew.
    let loads = given["Last load A"].iter().map(|s| &s.labels["what"]);
    assert_eq!(loads.filter(|what| *what == "keys").count(), 4);
    let query = |place: &str, value: u32| format!("({}) == {value}", query_of(place));
    prometheus.comes_to(&query("Instances A", 4)).await;
    prometheus.comes_to(&query("Not answering A", 0)).await;
    scene.of_nobody.process.signal("KILL");
    prometheus.comes_to(&query("Instances A", 3)).await;
    prometheus.comes_to(&query("Not answering A", 1)).await;
}
