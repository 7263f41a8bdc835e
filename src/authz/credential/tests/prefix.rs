//! Places that keyward shares with secrets of others.

use super::*;

/// The usual places, all with a prefix.
fn prefixed() -> CredentialPlaces {
    let places = places();
    let prefixed = places.iter().map(|place| CredentialPlace {
        prefix: Some("kw_".into()),
        ..place.clone()
    });
    CredentialPlaces::new(prefixed.collect()).unwrap()
}

#[test]
fn a_value_that_does_not_begin_with_the_prefix_is_none_of_ours() {
    type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], Option<&'a str>);
    let cases: &[Case<'_>] = &[
        (
            "ours in a header",
            "/",
            &[("x-api-key", "kw_A")],
            Some("kw_A"),
        ),
        (
            "ours as a bearer",
            "/",
            &[("authorization", "bearer kw_A")],
            Some("kw_A"),
        ),
        ("ours as a parameter", "/?api_key=kw_A", &[], Some("kw_A")),
        ("ours, encoded", "/?api_key=%6bw%5fA", &[], Some("kw_A")),
        (
            "ours as a cookie",
            "/",
            &[("cookie", "a=1; api_key=kw_A")],
            Some("kw_A"),
        ),
        (
            "the prefix alone",
            "/",
            &[("x-api-key", "kw_")],
            Some("kw_"),
        ),
        ("a vendor's header", "/", &[("x-api-key", "sk-1")], None),
        (
            "two of a vendor's",
            "/",
            &[("x-api-key", "sk-1,sk-2")],
            None,
        ),
        (
            "a vendor's bearer",
            "/",
            &[("authorization", "Bearer sk-1")],
            None,
        ),
        (
            "a prefix in another case",
            "/",
            &[("authorization", "Bearer KW_A")],
            None,
        ),
        ("half a prefix", "/?api_key=kw", &[], None),
        ("a vendor's parameter", "/?api_key=sk-1", &[], None),
        (
            "a vendor's cookie",
            "/",
            &[("cookie", "api_key=sk-1")],
            None,
        ),
        ("an empty header", "/", &[("x-api-key", "")], None),
        ("no scheme", "/", &[("authorization", "kw_A")], None),
        (
            "ours beside a vendor's bearer",
            "/",
            &[("x-api-key", "kw_A"), ("authorization", "Bearer sk-1")],
            Some("kw_A"),
        ),
    ];
    for (name, target, lines, secret) in cases {
        let secret = secret.map(str::to_owned);
        assert_eq!(found_at(&prefixed(), target, lines), Ok(secret), "{name}");
    }
}

#[test]
fn ours_beside_another_value_at_one_place_is_ambiguous() {
    type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);
    let cases: &[Case<'_>] = &[
        ("in a header", "/", &[("x-api-key", "kw_A,sk-1")]),
        (
            "in a header, ours last",
            "/",
            &[("x-api-key", "sk-1, kw_A")],
        ),
        (
            "in two lines",
            "/",
            &[("x-api-key", "sk-1"), ("x-api-key", "kw_A")],
        ),
        ("beside nothing", "/", &[("x-api-key", "kw_A,")]),
        (
            "two bearers",
            "/",
            &[("authorization", "Bearer sk-1, Bearer kw_A")],
        ),
        (
            "ours first",
            "/",
            &[("authorization", "Bearer kw_A,Bearer sk-1")],
        ),
        (
            "without the scheme again",
            "/",
            &[("authorization", "Bearer sk-1,kw_A")],
        ),
        (
            "without the scheme, in front",
            "/",
            &[("authorization", "kw_A, Bearer sk-1")],
        ),
        (
            "behind another scheme",
            "/",
            &[("authorization", "Basic sk,Bearer kw_A")],
        ),
        ("two parameters", "/?api_key=sk-1&api_key=kw_A", &[]),
        (
            "two cookies",
            "/",
            &[("cookie", "api_key=kw_A; api_key=sk-1")],
        ),
    ];
    for (name, target, lines) in cases {
        let found = found_at(&prefixed(), target, lines);
        assert_eq!(found, Err(Reason::AmbiguousKey), "{name}");
    }
}

#[test]
fn a_value_with_another_beginning_is_hinted_at() {
    for (header, value, hint) in [
        (
            "authorization",
            "Bearer sk-1",
            "header authorization has a value that does not begin with kw_",
        ),
        (
            "x-api-key",
            "sk-1",
            "header x-api-key has a value that does not begin with kw_",
        ),
    ] {
        let lines = [(header, value)];
        let request = request("/", &lines);
        let hinted = prefixed().hint(&request, Reason::MissingKey);
        assert_eq!(hinted.as_deref(), Some(hint));
    }
    let directions = prefixed().directions().to_owned();
    assert!(
        directions.starts_with("Send the API key as `x-api-key: KEY` (KEY begins with `kw_`), "),
        "{directions}"
    );
}
