//! Rules that no request can reach, for an earlier one matches everything that they match.
//!
//! A warning must never be a false alarm, so a rule counts as covered only where one earlier rule
//! covers its hosts, its methods and its paths for certain. What several earlier rules cover
//! together is not looked for. `allow: anyone` compares strictly, and so covers only what is
//! compared strictly too; what restricts covers either.

use std::iter;

use super::spec::{AllowSpec, MatchSpec, RuleSpec};

/// The earlier of these rules that matches everything that the last one matches.
pub(super) fn shadowed_by<'r>(
    earlier: &'r [RuleSpec],
    rule: &RuleSpec,
) -> Option<(usize, &'r RuleSpec)> {
    let mut earlier = earlier.iter().enumerate();
    earlier.find(|(_, other)| covers(other, rule))
}

fn covers(earlier: &RuleSpec, later: &RuleSpec) -> bool {
    let any = MatchSpec::default();
    let one = earlier.matches.as_ref().unwrap_or(&any);
    let other = later.matches.as_ref().unwrap_or(&any);
    let strict = |rule: &RuleSpec| rule.allow == Some(AllowSpec::Anyone);
    let (one_strict, other_strict) = (strict(earlier), strict(later));
    if one_strict && !other_strict && (one.hosts.is_some() || one.methods.is_some()) {
        // `post`, or `api.example.com.`, gets past the earlier one.
        return false;
    }
    covers_each(
        one.hosts.as_deref(),
        other.hosts.as_deref(),
        |one, other| host_covers(&Host::of(one), &Host::of(other), one_strict),
    ) && covers_each(
        one.methods.as_deref(),
        other.methods.as_deref(),
        |one, other| one == other || (!one_strict && one.eq_ignore_ascii_case(other)),
    ) && covers_each(one.paths.as_deref(), other.paths.as_deref(), path_covers)
}

/// Whether each of the later patterns is within one of the earlier; no list is any.
fn covers_each(
    earlier: Option<&[String]>,
    later: Option<&[String]>,
    covers: impl Fn(&str, &str) -> bool,
) -> bool {
    let Some(earlier) = earlier else {
        return true;
    };
    // No pattern matches an empty path or `*`, which no list of paths does.
    later.is_some_and(|later| {
        let covered = |later: &String| earlier.iter().any(|earlier| covers(earlier, later));
        later.iter().all(covered)
    })
}

/// A host pattern in lower case.
struct Host {
    name: String,
    below: bool,
    port: Option<String>,
}

impl Host {
    fn of(pattern: &str) -> Self {
        let pattern = pattern.to_ascii_lowercase();
        let (host, port) = match pattern.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port.to_owned())),
            Some(_) | None => (pattern.as_str(), None),
        };
        let below = host.strip_prefix("*.");
        Self {
            name: below.unwrap_or(host).to_owned(),
            below: below.is_some(),
            port,
        }
    }
}

fn host_covers(one: &Host, other: &Host, strict: bool) -> bool {
    // Only strict rules look at ports, and of those only one with `:*` takes another's.
    let port = !strict || one.port == other.port || one.port.as_deref() == Some("*");
    let is_below = || {
        let rest = other.name.strip_suffix(&one.name);
        rest.is_some_and(|rest| rest.ends_with('.'))
    };
    let name = if one.below {
        is_below() || (other.below && one.name == other.name)
    } else {
        !other.below && one.name == other.name
    };
    port && name
}

fn path_covers(one: &str, other: &str) -> bool {
    let segments = |pattern: &str| -> Vec<String> {
        let inner = pattern.strip_suffix('/').unwrap_or(pattern);
        inner.split('/').skip(1).map(str::to_owned).collect()
    };
    let segment_covers = |one: &String, other: &String| {
        let (one, other): (Vec<_>, Vec<_>) = (one.chars().collect(), other.chars().collect());
        pattern_covers(&one, &other, |part| *part == '*', char::eq)
    };
    let is_any = |segment: &String| segment == "**";
    pattern_covers(&segments(one), &segments(other), is_any, segment_covers)
}

/// Whether everything that matches `other` matches `one`: sequences in which `is_any` stands for
/// any number of parts.
///
/// Of each beginning of `one`, `row` says which beginnings of `other` it covers, the empty one
/// first.
fn pattern_covers<T>(
    one: &[T],
    other: &[T],
    is_any: impl Fn(&T) -> bool,
    fits: impl Fn(&T, &T) -> bool,
) -> bool {
    let mut row: Vec<bool> = iter::once(true)
        .chain(iter::repeat_n(false, other.len()))
        .collect();
    for part in one {
        let mut before = false;
        let parts = iter::once(None).chain(other.iter().map(Some));
        row = row
            .iter()
            .zip(parts)
            .map(|(&here, last)| {
                if is_any(part) {
                    before |= here;
                    return before;
                }
                // What stands for any number of parts is within nothing that stands for one.
                let covered = before && last.is_some_and(|last| !is_any(last) && fits(part, last));
                before = here;
                covered
            })
            .collect();
    }
    row.last() == Some(&true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> RuleSpec {
        serde_yaml::from_str(&format!("{{name: a, {text}}}")).unwrap()
    }

    const OPEN: &str = "allow: anyone";
    const KEY: &str = "require: {}";
    const SHUT: &str = "allow: nobody";

    /// An earlier rule's match and access, a later one's, and whether it is covered.
    const CASES: &[(&str, &str, &str, &str, bool)] = &[
        ("", KEY, "match: {paths: [/a]}, ", SHUT, true),
        (
            "",
            OPEN,
            "match: {hosts: [a.b], methods: [GET]}, ",
            KEY,
            true,
        ),
        ("match: {}, ", SHUT, "", KEY, true),
        (
            "match: {paths: [/**]}, ",
            KEY,
            "match: {paths: [/a/*, /]}, ",
            SHUT,
            true,
        ),
        // An empty path and `*` match no pattern.
        ("match: {paths: [/**]}, ", KEY, "", SHUT, false),
        (
            "match: {paths: [/a/**]}, ",
            KEY,
            "match: {paths: [/a/b/**, /a/]}, ",
            SHUT,
            true,
        ),
        (
            "match: {paths: [/a/**]}, ",
            KEY,
            "match: {paths: [/a/b, /b]}, ",
            SHUT,
            false,
        ),
        (
            "match: {paths: [/a, /b]}, ",
            KEY,
            "match: {paths: [/b/]}, ",
            SHUT,
            true,
        ),
        (
            "match: {paths: [/a/*]}, ",
            KEY,
            "match: {paths: [/a/**]}, ",
            SHUT,
            false,
        ),
        (
            "match: {paths: [/a/*/c]}, ",
            KEY,
            "match: {paths: [/a/b*/c]}, ",
            SHUT,
            true,
        ),
        (
            "match: {paths: [\"/**/c\"]}, ",
            KEY,
            "match: {paths: [/a/**/b/c]}, ",
            SHUT,
            true,
        ),
        (
            "match: {paths: [/a/v*]}, ",
            KEY,
            "match: {paths: [/a/v1, \"/a/v*-x\"]}, ",
            SHUT,
            true,
        ),
        (
            "match: {paths: [\"/v*-x\"]}, ",
            KEY,
            "match: {paths: [\"/v*\"]}, ",
            SHUT,
            false,
        ),
        (
            "match: {methods: [GET, POST]}, ",
            KEY,
            "match: {methods: [POST]}, ",
            SHUT,
            true,
        ),
        (
            "match: {methods: [GET]}, ",
            KEY,
            "match: {methods: [GET, POST]}, ",
            SHUT,
            false,
        ),
        ("match: {methods: [GET]}, ", KEY, "", SHUT, false),
        // `get` gets past what lets in.
        (
            "match: {methods: [GET]}, ",
            OPEN,
            "match: {methods: [GET]}, ",
            KEY,
            false,
        ),
        (
            "match: {methods: [GET]}, ",
            OPEN,
            "match: {methods: [GET]}, ",
            OPEN,
            true,
        ),
        (
            "match: {methods: [GET]}, ",
            KEY,
            "match: {methods: [GET]}, ",
            OPEN,
            true,
        ),
        (
            "match: {hosts: [A.b]}, ",
            KEY,
            "match: {hosts: [\"a.b:81\"]}, ",
            OPEN,
            true,
        ),
        (
            "match: {hosts: [a.b]}, ",
            OPEN,
            "match: {hosts: [a.b]}, ",
            KEY,
            false,
        ),
        (
            "match: {hosts: [a.b]}, ",
            OPEN,
            "match: {hosts: [\"a.b:81\"]}, ",
            OPEN,
            false,
        ),
        (
            "match: {hosts: [\"a.b:*\"]}, ",
            OPEN,
            "match: {hosts: [\"a.b:81\", a.b]}, ",
            OPEN,
            true,
        ),
        (
            "match: {hosts: [\"*.b\"]}, ",
            KEY,
            "match: {hosts: [a.b, \"*.c.b\", \"*.b\"]}, ",
            SHUT,
            true,
        ),
        (
            "match: {hosts: [\"*.b\"]}, ",
            KEY,
            "match: {hosts: [b]}, ",
            SHUT,
            false,
        ),
        (
            "match: {hosts: [\"*.b\"]}, ",
            KEY,
            "match: {hosts: [a.cb]}, ",
            SHUT,
            false,
        ),
        (
            "match: {hosts: [a.b]}, ",
            KEY,
            "match: {hosts: [\"*.a.b\"]}, ",
            SHUT,
            false,
        ),
    ];

    #[test]
    fn a_rule_is_covered_where_an_earlier_one_matches_all_that_it_matches() {
        for (earlier, earlier_does, later, later_does, want) in CASES {
            let earlier = [rule(&format!("{earlier}{earlier_does}"))];
            let later = rule(&format!("{later}{later_does}"));
            let found = shadowed_by(&earlier, &later).is_some();
            assert_eq!(found, *want, "{earlier:?} {later:?}");
        }
    }
}
