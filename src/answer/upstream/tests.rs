//! What an allowed request loses, by examples and by the oracle.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::authz::credential::{CredentialPlace, CredentialPlaces};
use crate::authz::request::Headers;
use crate::authz::snapshot::tests::policy;
use crate::authz::tests::losses::{self, Losses};
use crate::authz::tests::naive::{NaiveRequest, World};
use crate::authz::tests::{inputs, random, shuffled};

/// What becomes of the cookie header.
#[derive(Debug, PartialEq)]
enum CookieChange {
    Keep,
    Remove,
    Replace(Vec<u8>),
}

/// The headers removed but for cookies, the parameters removed, the new target, and the cookies.
fn parts(
    changes: &UpstreamChanges<'_>,
) -> (Vec<String>, Vec<String>, Option<String>, CookieChange) {
    let value = |wanted: &str| {
        let mut set = changes.set.iter();
        set.find_map(|(name, value)| (*name == wanted).then(|| value.to_string()))
    };
    let cookie = match value(COOKIE) {
        Some(left) => CookieChange::Replace(left.into_bytes()),
        None if changes.removes(COOKIE) => CookieChange::Remove,
        None => CookieChange::Keep,
    };
    let removed = changes.remove.iter().filter(|name| *name != COOKIE);
    (
        removed.map(ToString::to_string).collect(),
        changes
            .remove_query
            .iter()
            .map(ToString::to_string)
            .collect(),
        value(PATH),
        cookie,
    )
}

fn places(prefix: Option<&str>, strip: QueryStrip) -> CredentialPlaces {
    let locations = [
        CredentialLocation::Header {
            name: "x-api-key".into(),
        },
        CredentialLocation::Scheme {
            name: "authorization".into(),
            scheme: "Bearer".into(),
        },
        CredentialLocation::Query {
            name: "api_key".into(),
            strip,
        },
        CredentialLocation::Query {
            name: "token".into(),
            strip: QueryStrip::Parameter,
        },
        CredentialLocation::Cookie {
            name: "api_key".into(),
        },
    ];
    let places = locations.map(|location| CredentialPlace {
        location,
        prefix: prefix.map(Into::into),
    });
    CredentialPlaces::new(places.into()).unwrap()
}

fn changes_at(
    credentials: CredentialPlaces,
    target: &str,
    lines: &[(&str, &str)],
    strip: bool,
) -> (Vec<String>, Vec<String>, Option<String>, CookieChange) {
    let policy = Policy {
        strip_credentials: strip,
        credentials,
        ..policy()
    };
    let headers: Headers<'_> = lines
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
        .collect();
    let request = RequestAttributes {
        method: b"GET",
        host: b"h",
        target: target.as_bytes(),
        scheme: b"https",
        headers,
        peer: None,
        rule: None,
    };
    parts(&UpstreamChanges::by_request(&request, &policy))
}

fn changes(
    target: &str,
    lines: &[(&str, &str)],
    strip: bool,
) -> (Vec<String>, Vec<String>, CookieChange) {
    let places = places(None, QueryStrip::Parameter);
    let (headers, query, target, cookie) = changes_at(places, target, lines, strip);
    assert_eq!(target, None);
    (headers, query, cookie)
}

#[test]
fn a_path_is_written_without_the_secret_and_with_every_other_byte() {
    for (target, left) in [
        ("/a?api_key=K", "/a"),
        ("/a?b=2&a=1&api_key=K&b=3&&c", "/a?b=2&a=1&b=3&&c"),
        ("/a?api_key=K&b=%7e%2F+=", "/a?b=%7e%2F+="),
        ("/a?b=1&api_key=K", "/a?b=1"),
        ("/a?api_key=K&", "/a?"),
        ("/a?api_key&api_key=K&x", "/a?x"),
        // One place that rewrites the path rewrites it for the others too.
        ("/a?token=K&b=1&api_key=K", "/a?b=1"),
        ("/a;v=1?api_key=K?b", "/a;v=1"),
    ] {
        let (_, query, target, _) = changes_at(places(None, QueryStrip::Path), target, &[], true);
        assert_eq!((query, target.as_deref()), (vec![], Some(left)));
    }
    for (target, query) in [
        // Nothing of it is there.
        ("/a?b=1", vec![]),
        ("/a?apikey=K&API_KEY=K", vec![]),
        ("/a?token=K", vec!["token".to_owned()]),
        // Envoy takes text from us, and this could not be set as it came.
        ("/a?b=\u{e9}&api_key=K", vec!["api_key".to_owned()]),
        // There is no path that could be set.
        ("?api_key=K", vec!["api_key".to_owned()]),
    ] {
        let changes = changes_at(places(None, QueryStrip::Path), target, &[], true);
        assert_eq!((changes.1, changes.2), (query, None), "{target}");
    }
}

#[test]
fn with_a_prefix_ours_goes_and_others_stay() {
    let foreign = [
        ("x-api-key", "sk-1"),
        ("authorization", "Bearer sk-1"),
        ("cookie", "api_key=sk-1"),
    ];
    let prefixed = |strip| places(Some("kw_"), strip);
    for strip in [QueryStrip::Parameter, QueryStrip::Path] {
        let changes = changes_at(prefixed(strip), "/?api_key=sk-1", &foreign, true);
        assert_eq!(changes, (vec![], vec![], None, CookieChange::Keep));
    }
    let ours = [
        ("x-api-key", "kw_A"),
        ("authorization", "Bearer kw_A"),
        ("cookie", "api_key=kw_A; api_key=sk-1"),
    ];
    let (headers, query, target, cookie) = changes_at(
        prefixed(QueryStrip::Path),
        "/?api_key=%6bw_A&api_key=sk-1",
        &ours,
        true,
    );
    assert_eq!(headers, ["x-api-key", "authorization"]);
    assert_eq!((query, target.as_deref()), (vec![], Some("/?api_key=sk-1")));
    assert_eq!(cookie, CookieChange::Replace(b"api_key=sk-1".to_vec()));
    // A header that holds both goes, for it cannot be taken apart for certain.
    for value in [
        "Bearer sk-1, Bearer kw_A",
        "Bearer sk-1,kw_A",
        "Bearer kw_A,Bearer sk-1",
    ] {
        let changes = changes_at(
            prefixed(QueryStrip::Parameter),
            "/",
            &[("authorization", value)],
            true,
        );
        assert_eq!(changes.0, ["authorization"], "{value}");
    }
}

#[test]
fn only_what_is_there_is_removed() {
    let none = (vec![], vec![], CookieChange::Keep);
    assert_eq!(
        changes(
            "/?b=1",
            &[("authorization", "Basic x"), ("cookie", "a=1")],
            true
        ),
        none
    );
    let all = changes(
        "/?api_key=K",
        &[
            ("authorization", "bearer K"),
            ("cookie", "a=1; api_key=K,b=2"),
        ],
        true,
    );
    assert_eq!(all.0, ["authorization"]);
    assert_eq!(all.1, ["api_key"]);
    assert_eq!(all.2, CookieChange::Replace(b"a=1; b=2".to_vec()));
}

#[test]
fn a_cookie_header_with_nothing_left_is_removed() {
    assert_eq!(
        changes("/", &[("cookie", "api_key=K; ")], true).2,
        CookieChange::Remove
    );
    assert_eq!(
        changes("/", &[("cookie", "api_key")], true).2,
        CookieChange::Remove
    );
}

#[test]
fn aliases_of_identity_headers_go_even_where_credentials_stay() {
    let lines = [
        ("x_keyward-client", "root"),
        ("X_keyward-client", "root"),
        ("x-keyward-client", "root"),
        ("x-api-key", "K"),
    ];
    assert_eq!(
        changes("/?api_key=K", &lines, false),
        (
            vec!["x_keyward-client".to_owned()],
            vec![],
            CookieChange::Keep
        )
    );
}

#[test]
fn debug_shows_no_cookie_and_no_target() {
    let changes = UpstreamChanges {
        set: vec![
            (COOKIE, "session=canary".into()),
            (PATH, "/?q=canary".into()),
        ],
        ..UpstreamChanges::default()
    };
    assert!(!format!("{changes:?}").contains("canary"));
}

#[test]
fn a_header_value_is_text_without_control_characters() {
    for (value, expected) in [
        (&b"a=1; b=2"[..], "a=1; b=2"),
        (b"a=\xc3\xa9", "a=\u{e9}"),
        (b"a=\xff\xfe; b", "a=!!; b"),
        (b"a\r\nb\0c\x7f\t", "a!!b!c!\t"),
        (b"a=\xc3", "a=!"),
    ] {
        assert_eq!(header_text(value.to_vec()), expected);
    }
}

/// What a request loses under the policy of a world, with what every request loses there.
fn lost(world: &World, request: &NaiveRequest) -> Losses {
    let policy = &world.snapshot(1).policy;
    let request = request.attributes();
    let changes = UpstreamChanges::by_request(&request, policy);
    let (removed, query, target, cookie) = parts(&changes);
    assert_eq!(target, None);
    let always = always_removed(policy).map(str::to_owned);
    let removed = removed.into_iter().map(|name| name.to_ascii_lowercase());
    let count = query.len();
    let query: BTreeSet<String> = query.into_iter().collect();
    assert_eq!(query.len(), count, "a parameter is named once");
    Losses {
        headers: always.chain(removed).collect(),
        query,
        cookies: match cookie {
            CookieChange::Keep => None,
            CookieChange::Remove => Some(vec![]),
            CookieChange::Replace(left) => {
                let left = String::from_utf8(left).unwrap();
                Some(left.split("; ").map(str::to_owned).collect())
            }
        },
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_allowed_request_loses_what_the_oracle_says((world, requests) in inputs()) {
        for request in requests {
            for request in [request.joined(), request] {
                let mut expected = losses::of(&world, &request);
                for cookie in expected.cookies.iter_mut().flatten() {
                    *cookie = cookie.replace(|c: char| c.is_control() && c != '\t', "!");
                }
                prop_assert_eq!(lost(&world, &request), expected);
            }
        }
    }

    #[test]
    fn the_order_of_header_lines_changes_nothing_but_the_cookies_order(
        world in random::worlds(), (one, other) in shuffled(),
    ) {
        let sorted = |request| {
            let mut losses = lost(&world, request);
            losses.cookies.iter_mut().for_each(|left| left.sort());
            losses
        };
        prop_assert_eq!(sorted(&one), sorted(&other));
    }
}
