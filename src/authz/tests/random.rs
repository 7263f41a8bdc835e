//! Random configurations and keys, over alphabets so small that they meet.

use std::collections::HashSet;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::naive::{
    NaiveAccess, NaiveKey, NaivePlace, NaiveRule, NaiveSecret, Texts, World, texts,
};

pub(crate) const SECRETS: &[&str] = &["KA", "KB", "KC", "KD"];

fn some_of(list: &'static [&'static str], most: usize) -> impl Strategy<Value = Texts> {
    subsequence(list, 0..=most).prop_map(|list| texts(&list))
}

/// Absent, or one to `most` of the list.
fn restriction(list: &'static [&'static str], most: usize) -> impl Strategy<Value = Option<Texts>> {
    option::weighted(
        0.3,
        subsequence(list, 1..=most).prop_map(|list| texts(&list)),
    )
}

fn hosts() -> impl Strategy<Value = Option<Texts>> {
    restriction(
        &[
            "a.example",
            "*.Example",
            "b.example:80",
            "*.example:*",
            "*.a.example:81",
            "example",
            "A.example:*",
        ],
        4,
    )
}

fn pattern() -> impl Strategy<Value = String> {
    let segment = select(vec![
        "a", "b", "*", "**", "a*", "*b", "a*b", "a b", "é", "**", "a",
    ]);
    let path = vec(segment, 0..4).prop_map(|segments| format!("/{}", segments.join("/")));
    (path, any::<bool>()).prop_map(|(path, slash)| {
        if slash && path != "/" {
            path + "/"
        } else {
            path
        }
    })
}

fn paths() -> impl Strategy<Value = Option<Texts>> {
    option::weighted(0.3, vec(pattern(), 1..4))
}

fn methods() -> impl Strategy<Value = Option<Texts>> {
    restriction(&["GET", "POST", "get"], 2)
}

fn rule() -> impl Strategy<Value = NaiveRule> {
    let require = (
        some_of(&["s1", "s2", "s3"], 2),
        restriction(&["c1", "c2", "k1"], 2),
    )
        .prop_map(|(scopes, clients)| NaiveAccess::Require { scopes, clients });
    let access = prop_oneof![
        1 => Just(NaiveAccess::Anyone),
        1 => Just(NaiveAccess::Nobody),
        5 => require,
    ];
    (hosts(), paths(), methods(), access).prop_map(|(hosts, paths, methods, access)| NaiveRule {
        name: String::new(),
        hosts,
        paths,
        methods,
        access,
    })
}

fn offset() -> impl Strategy<Value = Option<i64>> {
    option::weighted(0.15, -2..=2_i64)
}

fn beginning() -> impl Strategy<Value = Option<i64>> {
    offset().prop_map(|at| at.map(|at| at - 1))
}

fn end() -> impl Strategy<Value = Option<i64>> {
    offset().prop_map(|at| at.map(|at| at + 2))
}

fn secret() -> impl Strategy<Value = NaiveSecret> {
    let long = Just("L".repeat(512));
    let text = prop_oneof![12 => select(SECRETS).prop_map(str::to_owned), 1 => long];
    (any::<bool>(), text, beginning(), end()).prop_map(|(keyed, text, from, until)| NaiveSecret {
        keyed,
        text,
        from,
        until,
    })
}

fn key() -> impl Strategy<Value = NaiveKey> {
    let names = (
        option::of(select(vec!["c1", "c2"])),
        option::of(select(vec!["gold", "silver"])),
        some_of(&["s1", "s2", "s3"], 3),
        option::of(select(vec!["42", "a b"])),
    );
    let times = (
        vec(secret(), 1..4),
        prop::bool::weighted(0.9),
        option::weighted(0.1, -1..=1_i64),
        beginning(),
        end(),
    );
    let ips = restriction(
        &[
            "10.0.0.0/8",
            "10.1.0.0/16",
            "2001:db8::/32",
            "0.0.0.0/0",
            "10.0.0.1/32",
        ],
        2,
    );
    let allowed = (ips, hosts(), paths(), methods());
    (names, times, allowed).prop_map(|(names, times, allowed)| {
        let (client, plan, scopes, org) = names;
        let (secrets, enabled, revoked, from, until) = times;
        let (ips, hosts, paths, methods) = allowed;
        NaiveKey {
            id: String::new(),
            client: client.map(str::to_owned),
            secrets,
            enabled,
            revoked,
            from,
            until,
            plan: plan.map(str::to_owned),
            scopes,
            ips,
            hosts,
            paths,
            methods,
            org: org.map(str::to_owned),
        }
    })
}

/// Ids of their own, and no digest twice: what a loader would have refused.
fn loadable(mut keys: Vec<NaiveKey>) -> Vec<NaiveKey> {
    let mut seen = HashSet::new();
    for (number, key) in keys.iter_mut().enumerate() {
        key.id = format!("k{}", number + 1);
        key.secrets
            .retain(|secret| seen.insert((secret.keyed, secret.text.clone())));
    }
    keys.retain(|key| !key.secrets.is_empty());
    keys
}

fn places() -> impl Strategy<Value = Vec<NaivePlace>> {
    let all = vec![
        NaivePlace::Header("x-api-key"),
        NaivePlace::Scheme("authorization", "Bearer"),
        NaivePlace::Scheme("authorization", "ApiKey"),
        NaivePlace::Query("api_key"),
        NaivePlace::Cookie("api_key"),
        NaivePlace::Cookie("t"),
    ];
    subsequence(all, 1..=6).prop_shuffle()
}

pub(crate) fn worlds() -> impl Strategy<Value = World> {
    let identity = subsequence(
        vec![
            ("x-keyward-key-id", "key.id"),
            ("x-client", "key.client"),
            ("x-scopes", "key.scopes"),
            ("x_plan", "key.plan"),
            ("x-org-id", "key.metadata.org"),
        ],
        0..=5,
    );
    let settings = (
        select(vec![
            vec![false],
            vec![true],
            vec![false, true],
            vec![true, false],
        ]),
        select(vec!["require-key", "require-key", "allow-anyone", "deny"]),
        (prop::bool::weighted(0.8), prop::bool::weighted(0.2)),
        any::<bool>(),
        prop::bool::weighted(0.2),
    );
    let prefix = select(vec![None, None, None, Some("K"), Some("KA")]);
    let places = (places(), prefix);
    let lists = (places, vec(rule(), 0..4), identity, vec(key(), 0..5));
    (lists, settings, some_of(&["s1", "s2"], 2)).prop_map(|(lists, settings, gold)| {
        let ((places, prefix), mut rules, identity, keys) = lists;
        let (accept, default, (strip, https), external_address, observe) = settings;
        for (number, rule) in rules.iter_mut().enumerate() {
            rule.name = format!("r{number}");
        }
        World {
            places,
            prefix,
            accept,
            rules,
            default,
            plans: vec![("gold".to_owned(), gold), ("silver".to_owned(), vec![])],
            identity,
            strip,
            https,
            external_address,
            observe,
            keys: loadable(keys),
        }
    })
}
