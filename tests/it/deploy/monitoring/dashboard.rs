//! The dashboard as a file. No package contains Grafana, so this checks what Grafana would stumble
//! over or silently omit: unknown members, overlapping panels, missing variables, a fixed data
//! source.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{string, text, yaml};

/// Built-in `$…` variables that are not the dashboard's own, and their values in tests.
const BUILT_IN: [(&str, &str); 2] = [("$__rate_interval", "5m"), ("$__range", "1h")];

/// The units in use, as `@grafana/data` 13.2.3 has them: Grafana shows a wrong one as text behind
/// the number, without an error.
const UNITS: [&str; 8] = [
    "none",
    "short",
    "s",
    "bytes",
    "percentunit",
    "reqps",
    "ops",
    "dateTimeFromNow",
];

/// Members by the kind of object, as `@grafana/schema` 13.2.3 has them, as far as they are used.
const DASHBOARD: &str = "id uid title description tags schemaVersion version editable graphTooltip timezone time refresh \
    links annotations templating panels";
const ROW: &str = "id type title collapsed gridPos panels";
const PANEL: &str =
    "id type title description datasource gridPos fieldConfig options targets transformations";
const TARGET: &str = "refId datasource editorMode expr format range instant legendFormat";
const VARIABLE: &str = "name label type datasource query regex sort refresh hide multi includeAll allValue current options";
const DEFAULTS: &str = "unit min max decimals color thresholds mappings custom";
const OPTIONS: [(&str, &str); 5] = [
    (
        "stat",
        "colorMode graphMode justifyMode orientation textMode reduceOptions",
    ),
    ("timeseries", "legend tooltip"),
    ("table", "showHeader cellHeight sortBy"),
    (
        "heatmap",
        "calculate cellGap color exemplars filterValues legend rowsFrame tooltip yAxis",
    ),
    (
        "state-timeline",
        "mergeValues showValue alignValue rowHeight legend tooltip",
    ),
];
const ANNOTATION: &str =
    "name datasource enable hide iconColor target titleFormat textFormat tagKeys useValueForTime";
const ANNOTATION_TARGET: &str = "refId editorMode expr interval";
const CUSTOM: &str = "drawStyle lineWidth fillOpacity showPoints spanNulls stacking align cellOptions filterable \
    scaleDistribution";

/// A query of a panel.
pub struct Target {
    /// The panel's title and the query's letter, or an annotation's name.
    pub place: String,
    pub expr: String,
    /// The labels in its legend or its columns.
    pub labels: Vec<String>,
}

fn dashboard() -> Value {
    serde_json::from_str(&text("grafana/keyward.json")).unwrap()
}

fn list(value: &Value) -> &Vec<Value> {
    value
        .as_array()
        .unwrap_or_else(|| panic!("no list: {value}"))
}

fn str_of(value: &Value) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("no string: {value}"))
}

/// The panels without the rows.
fn panels() -> Vec<Value> {
    let mut panels = list(&dashboard()["panels"]).clone();
    panels.retain(|panel| panel["type"] != "row");
    panels
}

/// Labels in `{{…}}` of a legend.
fn legend_labels(legend: &str) -> Vec<String> {
    let labels = legend.split("{{").skip(1);
    labels
        .map(|rest| rest.split_once("}}").unwrap().0.to_owned())
        .collect()
}

/// The columns that a transformation of a table orders and names.
fn organized(panel: &Value) -> Option<Map<String, Value>> {
    let organize = list(panel.get("transformations")?)
        .iter()
        .find(|t| t["id"] == "organize")?;
    Some(organize["options"].as_object().unwrap().clone())
}

fn annotations() -> Vec<Value> {
    list(&dashboard()["annotations"]["list"]).clone()
}

pub fn targets() -> Vec<Target> {
    let mut all = Vec::new();
    for annotation in annotations() {
        let shown =
            ["titleFormat", "textFormat"].map(|name| legend_labels(str_of(&annotation[name])));
        let tags = str_of(&annotation["tagKeys"]).split(',').map(str::to_owned);
        all.push(Target {
            place: str_of(&annotation["name"]).to_owned(),
            expr: str_of(&annotation["target"]["expr"]).to_owned(),
            labels: shown.concat().into_iter().chain(tags).collect(),
        });
    }
    for panel in panels() {
        let title = str_of(&panel["title"]);
        let columns = organized(&panel).map_or_else(Vec::new, |options| {
            let ordered = options["indexByName"].as_object().unwrap();
            ordered.keys().cloned().collect()
        });
        let targets = list(&panel["targets"]);
        for target in targets {
            let mut labels = legend_labels(target["legendFormat"].as_str().unwrap_or_default());
            // With several queries, a column may come from any of them.
            if targets.len() == 1 {
                let columns = columns.iter().filter(|column| !column.starts_with("Value"));
                labels.extend(columns.cloned());
            }
            all.push(Target {
                place: format!("{title} {}", str_of(&target["refId"])),
                expr: str_of(&target["expr"]).to_owned(),
                labels,
            });
        }
    }
    all
}

/// The variables with a query, and the query.
pub fn variable_queries() -> Vec<(String, String)> {
    let dashboard = dashboard();
    let variables = list(&dashboard["templating"]["list"]).iter();
    variables
        .filter(|variable| variable["type"] == "query")
        .map(|variable| {
            let query = str_of(&variable["query"]["query"]);
            (str_of(&variable["name"]).to_owned(), query.to_owned())
        })
        .collect()
}

/// An expression with a value for each variable.
pub fn substituted(expression: &str) -> String {
    of_job(expression, ".*")
}

/// The same with a selected job, and *All* for the other variables.
pub fn of_job(expression: &str, job: &str) -> String {
    let mut expression = expression.replace("$job", job);
    for (name, value) in BUILT_IN {
        expression = expression.replace(name, value);
    }
    for (name, _) in variable_queries() {
        expression = expression.replace(&format!("${name}"), ".*");
    }
    assert!(!expression.contains('$'), "no such variable: {expression}");
    expression
}

fn has_only(what: &str, object: &Value, members: &str) {
    let known: BTreeSet<&str> = members.split_whitespace().collect();
    for member in object.as_object().unwrap().keys() {
        assert!(known.contains(member.as_str()), "{what}: {member}");
    }
}

#[test]
fn it_is_formatted_canonically() {
    // Two spaces, members in their order, one final newline: a diff shows only real changes.
    let written = serde_json::to_string_pretty(&dashboard()).unwrap() + "\n";
    let text = text("grafana/keyward.json");
    let lines = text.lines().zip(written.lines()).enumerate();
    let mut lines = lines.filter(|(_, (is, would_be))| is != would_be);
    assert!(
        text == written,
        "the first of its lines and what it would be: {:?}",
        lines.next()
    );
}

#[test]
fn it_has_no_member_unknown_to_grafana() {
    let dashboard = dashboard();
    has_only("dashboard", &dashboard, DASHBOARD);
    // The last version of this kind of dashboard; older Grafanas read it too.
    assert_eq!(dashboard["schemaVersion"], 42);
    assert_eq!(dashboard["id"], Value::Null);
    assert_eq!(dashboard["uid"], "keyward");
    for variable in list(&dashboard["templating"]["list"]) {
        has_only("variable", variable, VARIABLE);
    }
    for annotation in annotations() {
        has_only("annotation", &annotation, ANNOTATION);
        has_only("annotation", &annotation["target"], ANNOTATION_TARGET);
    }
    for panel in list(&dashboard["panels"]) {
        let title = str_of(&panel["title"]);
        if panel["type"] == "row" {
            has_only(title, panel, ROW);
            continue;
        }
        has_only(title, panel, PANEL);
        let kind = OPTIONS.iter().find(|(kind, _)| panel["type"] == *kind);
        let (_, options) = kind.unwrap_or_else(|| panic!("{title}: {}", panel["type"]));
        has_only(title, &panel["options"], options);
        has_only(title, &panel["fieldConfig"]["defaults"], DEFAULTS);
        if let Some(custom) = panel["fieldConfig"]["defaults"].get("custom") {
            has_only(title, custom, CUSTOM);
        }
        let mut letters = BTreeSet::new();
        for target in list(&panel["targets"]) {
            has_only(title, target, TARGET);
            assert!(letters.insert(str_of(&target["refId"])), "{title}");
            let is_table = panel["type"] == "table";
            assert_eq!(target["format"] == "table", is_table, "{title}");
            assert_eq!(target["format"] == "heatmap", panel["type"] == "heatmap");
            assert_eq!(target.get("instant").is_some(), is_table, "{title}");
        }
        assert!(!letters.is_empty(), "{title} shows nothing");
    }
}

#[test]
fn panels_do_not_overlap_and_follow_their_rows() {
    let dashboard = dashboard();
    let (mut ids, mut titles) = (BTreeSet::new(), BTreeSet::new());
    let mut taken = BTreeSet::new();
    let mut row = None;
    for panel in list(&dashboard["panels"]) {
        let title = str_of(&panel["title"]);
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: id");
        let at = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        let (x, y, w, h) = (at("x"), at("y"), at("w"), at("h"));
        assert!(w > 0 && h > 0 && x + w <= 24, "{title}");
        if panel["type"] == "row" {
            assert_eq!((x, w, h), (0, 24, 1), "{title}");
            row = Some(y);
        }
        assert!(row.is_some_and(|row| row <= y), "{title} is above its row");
        assert!(
            panel["type"] == "row" || titles.insert((row, title)),
            "{title}"
        );
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(taken.insert(cell), "{title} overlaps another");
        }
    }
    // No gaps: Grafana would move panels up into them.
    let height = taken.iter().map(|(_, y)| y + 1).max().unwrap();
    assert_eq!(u64::try_from(taken.len()).unwrap(), 24 * height);
}

/// Every object that is the value of `name`, anywhere.
fn everywhere<'v>(value: &'v Value, name: &str, found: &mut Vec<&'v Value>) {
    match value {
        Value::Object(members) => {
            for (member, value) in members {
                if member == name {
                    found.push(value);
                }
                everywhere(value, name, found);
            }
        }
        Value::Array(values) => {
            for value in values {
                everywhere(value, name, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn the_data_source_is_a_variable() {
    let dashboard = dashboard();
    let mut sources = Vec::new();
    everywhere(&dashboard, "datasource", &mut sources);
    let chosen = serde_json::json!({"type": "prometheus", "uid": "${datasource}"});
    assert!(
        sources.iter().all(|source| **source == chosen),
        "{sources:?}"
    );
    let panels = panels();
    let queries: usize = panels.iter().map(|p| list(&p["targets"]).len()).sum();
    assert_eq!(
        sources.len(),
        panels.len() + queries + variable_queries().len() + annotations().len(),
        "each panel, query, variable and annotation names it"
    );
    let first = &dashboard["templating"]["list"][0];
    assert_eq!(
        (&first["name"], &first["type"]),
        (&"datasource".into(), &"datasource".into())
    );
    assert_eq!(first["query"], "prometheus");
}

#[test]
fn every_query_uses_the_variables() {
    let chosen = "namespace=~\"$namespace\", job=~\"$job\", instance=~\"$instance\"";
    // An alert has only the labels by which its rule sums, so absent ones match too.
    let or_absent = "namespace=~\"$namespace|\", job=~\"$job|\", instance=~\"$instance|\"";
    for Target { place, expr, .. } in targets() {
        let selectors = crate::support::promql::selection_of(&substituted(&expr)).selectors;
        assert_eq!(
            expr.matches(chosen).count() + expr.matches(or_absent).count(),
            selectors.len(),
            "{place}: {expr}"
        );
    }
    let dashboard = dashboard();
    for variable in &list(&dashboard["templating"]["list"])[1..] {
        // Absent labels match too, so that "All" includes targets without a namespace.
        assert_eq!(variable["allValue"], ".*");
        assert_eq!(
            (&variable["multi"], &variable["includeAll"]),
            (&true.into(), &true.into())
        );
    }
}

#[test]
fn units_and_columns_exist() {
    for panel in panels() {
        let title = str_of(&panel["title"]);
        let mut units = Vec::new();
        everywhere(&panel, "unit", &mut units);
        for change in list(&panel["fieldConfig"]["overrides"]) {
            let properties = list(&change["properties"]).iter();
            units.extend(
                properties
                    .filter(|p| p["id"] == "unit")
                    .map(|p| &p["value"]),
            );
        }
        assert!(
            !units.is_empty() || panel["type"] == "state-timeline",
            "{title}"
        );
        for unit in units {
            assert!(UNITS.contains(&str_of(unit)), "{title}: {unit}");
        }
        if panel["type"] != "table" {
            continue;
        }
        let options = organized(&panel).unwrap_or_else(|| panic!("{title} names no columns"));
        let names = options["renameByName"].as_object().unwrap();
        let order = options["indexByName"].as_object().unwrap();
        assert!(
            names.keys().eq(order.keys()),
            "{title}: every column has a name"
        );
        let shown: Vec<&str> = names.values().map(str_of).collect();
        for change in list(&panel["fieldConfig"]["overrides"]) {
            let column = str_of(&change["matcher"]["options"]);
            assert!(shown.contains(&column), "{title}: {column}");
        }
        for sort in list(&panel["options"]["sortBy"]) {
            let column = str_of(&sort["displayName"]);
            assert!(shown.contains(&column), "{title}: {column}");
        }
    }
}

#[test]
fn provisioning_files_have_what_grafana_reads() {
    let sources = yaml("grafana/provisioning/datasources/prometheus.yaml");
    assert_eq!(sources["apiVersion"], 1);
    let source = &sources["datasources"][0];
    assert_eq!(string(&source["type"]), "prometheus");
    assert!(source["uid"].is_null(), "Grafana makes one");
    let members = ["name", "type", "access", "url", "jsonData"];
    let source_members: Vec<_> = source.as_mapping().unwrap().keys().map(string).collect();
    assert_eq!(source_members, members);
    let scraped = yaml("prometheus/prometheus.yaml")["global"]["scrape_interval"].clone();
    assert_eq!(source["jsonData"]["timeInterval"], scraped);

    let providers = yaml("grafana/provisioning/dashboards/keyward.yaml");
    assert_eq!(providers["apiVersion"], 1);
    let provider = &providers["providers"][0];
    let members = [
        "name",
        "type",
        "updateIntervalSeconds",
        "allowUiUpdates",
        "options",
    ];
    let provider_members: Vec<_> = provider.as_mapping().unwrap().keys().map(string).collect();
    assert_eq!(provider_members, members);
    assert_eq!(string(&provider["type"]), "file");
    assert!(string(&provider["options"]["path"]).starts_with('/'));
}
