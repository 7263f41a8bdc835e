//! Parses a scrape line by line.

use std::collections::BTreeSet;

use super::message::Reply;

/// The value of the one series of `name` that has all of `labels`.
///
/// # Panics
/// If several have them.
pub fn sample(metrics: &Reply, name: &str, labels: &[&str]) -> Option<f64> {
    let text = metrics.text();
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| {
            line.starts_with(&format!("{name}{{")) || line.starts_with(&format!("{name} "))
        })
        .filter(|line| labels.iter().all(|label| line.contains(label)))
        .collect();
    assert!(lines.len() <= 1, "{name} {labels:?}: {lines:?}");
    lines
        .first()
        .and_then(|line| line.rsplit(' ').next()?.parse().ok())
}

/// The sum over all series of `name`.
pub fn total(metrics: &Reply, name: &str) -> f64 {
    let text = metrics.text();
    let of_it = text
        .lines()
        .filter(|line| line.starts_with(&format!("{name}{{")));
    of_it
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

/// Every series, without its value.
pub fn series(metrics: &Reply) -> BTreeSet<String> {
    let text = metrics.text();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned()))
        .collect()
}
