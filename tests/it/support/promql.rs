//! The part of `PromQL` that tests must parse: which series an expression selects, and by which
//! labels it sums and joins. Prometheus itself checks that it is valid.

/// A metric's name with the matchers in its braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    pub name: String,
    pub matchers: Vec<Matcher>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matcher {
    pub label: String,
    /// `=`, `!=`, `=~` or `!~`.
    pub operator: String,
    pub value: String,
}

impl Selector {
    /// The selector as text.
    pub fn text(&self) -> String {
        let matchers = self
            .matchers
            .iter()
            .map(|m| format!("{}{}\"{}\"", m.label, m.operator, m.value));
        format!(
            "{}{{{}}}",
            self.name,
            matchers.collect::<Vec<_>>().join(",")
        )
    }
}

/// What an expression selects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    pub selectors: Vec<Selector>,
    /// The labels in `by (…)`, `on (…)` and similar.
    pub labels: Vec<String>,
}

/// Keywords that precede a list of labels.
const LISTS: [&str; 6] = [
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
];
/// Keywords that are not metrics although no parenthesis need follow.
const WORDS: [&str; 17] = [
    "and", "or", "unless", "offset", "bool", "sum", "min", "max", "avg", "count", "group",
    "stddev", "stdvar", "topk", "bottomk", "quantile", "inf",
];

pub fn selection_of(expression: &str) -> Selection {
    let mut rest = expression;
    let mut selection = Selection::default();
    while let Some(first) = rest.chars().next() {
        if first.is_ascii_digit() {
            // A number or a duration; letters in it are units.
            rest = rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || ".:".contains(c));
        } else if first.is_ascii_alphabetic() || first == '_' {
            let (word, after) = word(rest);
            rest = after.trim_start();
            if LISTS.contains(&word) {
                let (inside, after) = enclosed(rest, '(', ')');
                let names = inside.split(',').map(str::trim).map(str::to_owned);
                selection.labels.extend(names);
                rest = after;
            } else if !WORDS.contains(&word) && !rest.starts_with('(') {
                let mut matchers = Vec::new();
                if rest.starts_with('{') {
                    let (inside, after) = braces(rest);
                    matchers = inside;
                    rest = after;
                }
                selection.selectors.push(Selector {
                    name: word.to_owned(),
                    matchers,
                });
            }
        } else {
            rest = &rest[first.len_utf8()..];
        }
    }
    selection
}

fn word(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || "_:".contains(c)));
    text.split_at(end.unwrap_or(text.len()))
}

fn enclosed(text: &str, open: char, close: char) -> (&str, &str) {
    let inside = text
        .strip_prefix(open)
        .unwrap_or_else(|| panic!("`{open}` expected at `{text}`"));
    inside
        .split_once(close)
        .unwrap_or_else(|| panic!("no `{close}` in `{text}`"))
}

fn braces(text: &str) -> (Vec<Matcher>, &str) {
    let mut rest = text[1..].trim_start();
    let mut matchers = Vec::new();
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return (matchers, after);
        }
        let (label, after) = word(rest);
        let after = after.trim_start();
        let end = after.find('"').expect("a quoted value");
        let operator = after[..end].trim().to_owned();
        let (value, after) = enclosed(&after[end..], '"', '"');
        matchers.push(Matcher {
            label: label.to_owned(),
            operator,
            value: value.to_owned(),
        });
        rest = after.trim_start().trim_start_matches(',').trim_start();
    }
}

#[test]
fn an_expression_is_parsed() {
    let selection = selection_of(
        "topk(5, sum by (job, le) (rate(a_bucket{x=\"{y}\", z!~'b|c'}[5m:1m] offset 1d))) \
         / on (job) group_left (v) job:a:rate5m > 0.5e3 and time() - max by (job) (b) < 7 * 86400"
            .replace('\'', "\"")
            .as_str(),
    );
    let texts: Vec<String> = selection.selectors.iter().map(Selector::text).collect();
    assert_eq!(
        texts,
        ["a_bucket{x=\"{y}\",z!~\"b|c\"}", "job:a:rate5m{}", "b{}"]
    );
    assert_eq!(selection.labels, ["job", "le", "job", "v", "job"]);
}
