//! Each alert has a runbook with the same parts, and there are no others.

use std::collections::BTreeMap;

use super::{alerts, string, text};

const PARTS: [&str; 4] = [
    "**Meaning.**",
    "**First look.**",
    "**Likely causes.**",
    "**What to do.**",
];

/// The text below each heading `### …`, by heading.
fn chapters(text: &str) -> BTreeMap<&str, &str> {
    let chapters = text.split("\n### ").skip(1);
    chapters
        .map(|chapter| {
            let (heading, rest) = chapter.split_once('\n').unwrap();
            (heading, rest.split("\n## ").next().unwrap())
        })
        .collect()
}

#[test]
fn each_alert_has_a_runbook_where_its_annotation_points() {
    let readme = text("prometheus/README.md");
    let runbooks = chapters(&readme);
    let alerts = alerts();
    let names: Vec<&str> = alerts.iter().map(|(name, _)| name.as_str()).collect();
    for (name, alert) in &alerts {
        let url = string(&alert["annotations"]["runbook_url"]);
        let place = "https://github.com/keyward/keyward/blob/main/deploy/prometheus/README.md";
        // A heading of one word is its own anchor, in lower case.
        assert_eq!(url, format!("{place}#{}", name.to_lowercase()));
        let runbook = runbooks
            .get(name.as_str())
            .unwrap_or_else(|| panic!("no runbook for {name}"));
        let mut rest = *runbook;
        for part in PARTS {
            let (_, after) = rest
                .split_once(part)
                .unwrap_or_else(|| panic!("{name} lacks {part} in its place"));
            rest = after;
        }
        for annotation in ["summary", "description"] {
            assert!(!string(&alert["annotations"][annotation]).is_empty());
        }
        let severity = string(&alert["labels"]["severity"]);
        assert!(["warning", "critical"].contains(&severity), "{severity}");
        let row = format!("| [{name}](#{}) | {severity} |", name.to_lowercase());
        assert!(readme.contains(&row), "the table lacks `{row}`");
    }
    for heading in runbooks.keys() {
        assert!(names.contains(heading), "{heading} is no alert");
    }
}
