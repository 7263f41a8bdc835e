//! The documents: the README mentions every directory in `deploy/`, every link has a target, and
//! alerts that are named exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::path;

fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = vec![root.join("README.md"), root.join("CHANGELOG.md")];
    let mut directories = vec![
        root.join("deploy"),
        root.join("docs"),
        root.join("tests/bench"),
    ];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    found
}

/// The anchor of a heading, as on GitHub.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn anchors(document: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(document).unwrap();
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings.map(anchor).collect()
}

/// The targets of the links `[..](..)` outside of code blocks.
fn links(text: &str) -> Vec<&str> {
    let prose = text.split("```").step_by(2);
    prose
        .flat_map(|part| part.split("](").skip(1))
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target)
        .collect()
}

#[test]
fn every_link_has_a_target() {
    let mut count = 0;
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for link in links(&text) {
            if link.starts_with("https://") {
                continue;
            }
            count += 1;
            let (file, section) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() {
                document.clone()
            } else {
                document.parent().unwrap().join(file)
            };
            let place = format!("{}: {link}", document.display());
            assert!(target.exists(), "{place}");
            assert!(
                section.is_empty() || anchors(&target).contains(section),
                "{place}: {:?}",
                anchors(&target)
            );
        }
    }
    assert!(count > 20, "links are found: {count}");
}

#[test]
fn the_readme_mentions_every_directory() {
    let text = fs::read_to_string(path("README.md")).unwrap();
    for entry in fs::read_dir(path("")).unwrap() {
        let entry = entry.unwrap();
        if entry.path().is_dir() {
            let name = entry.file_name().into_string().unwrap();
            assert!(text.contains(&format!("`{name}`")), "{name}");
        }
    }
}

#[test]
fn alerts_that_are_named_exist() {
    let text = fs::read_to_string(path("README.md")).unwrap();
    let rules = fs::read_to_string(path("prometheus/rules.yaml")).unwrap();
    let named: BTreeSet<_> = text
        .split('`')
        .filter(|word| word.starts_with("Keyward"))
        .collect();
    assert!(named.len() > 5, "{named:?}");
    for alert in named {
        assert!(rules.contains(&format!("alert: {alert}\n")), "{alert}");
    }
}
