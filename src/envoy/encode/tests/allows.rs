//! What allows change in a request.

use super::*;

#[test]
fn an_allow_of_a_key_sets_its_identity_and_removes_what_it_lacks() {
    let policy = policy();
    let (response, ok) = allow(
        Grounds::Key(EncodedKey::of(&key(), &policy)),
        &policy,
        Edits::default(),
    );
    assert_eq!(
        headers(&ok.headers),
        [
            ("x-keyward-key-id", "k1"),
            ("x-keyward-client", "acme"),
            ("x-keyward-scopes", "a:read b")
        ]
        .into(),
    );
    assert_eq!(ok.headers_to_remove, ["x-keyward-plan", "x-api-key"]);
    assert!(
        ok.query_parameters_to_remove.is_empty(),
        "Envoy sorts the query for each"
    );
    let expected = [
        ("decision", "allow"),
        ("reason", "allowed"),
        ("key_id", "k1"),
        ("client", "acme"),
    ];
    assert_eq!(metadata(&response), members(expected));
}

#[test]
fn an_allow_of_nobody_removes_every_identity_header() {
    let policy = policy();
    let all = [
        "x-keyward-key-id",
        "x-keyward-client",
        "x-keyward-scopes",
        "x-keyward-plan",
        "x-api-key",
    ];
    let refused = || Refusal {
        key: Some(EncodedKey::of(&key(), &policy)),
        ..Refusal::new(Reason::KeyDisabled)
    };
    for grounds in [Grounds::Public, Grounds::Observed(refused())] {
        let (_, ok) = allow(grounds, &policy, Edits::default());
        assert_eq!(ok.headers, []);
        assert_eq!(ok.headers_to_remove, all);
    }
}

#[test]
fn what_the_request_calls_for_follows_what_the_key_does() {
    let policy = policy();
    let of = |cookie| Edits {
        remove_headers: vec![b"authorization", b"x_keyward_plan", b"X-Api-Key"],
        remove_query: vec!["api_key"],
        target: None,
        cookie,
    };
    let removed = |ok: &OkHttpResponse| ok.headers_to_remove.clone();
    let key = || Grounds::Key(EncodedKey::of(&key(), &policy));

    let (_, ok) = allow(
        key(),
        &policy,
        of(CookieChange::Replace(b"a=1; b=\xff\r\n".to_vec())),
    );
    assert_eq!(headers(&ok.headers)["cookie"], "a=1; b=!!!");
    assert_eq!(
        removed(&ok),
        [
            "x-keyward-plan",
            "x-api-key",
            "authorization",
            "x_keyward_plan"
        ],
        "each once"
    );
    assert_eq!(ok.query_parameters_to_remove, ["api_key"]);

    let (_, ok) = allow(Grounds::Public, &policy, of(CookieChange::Remove));
    assert_eq!(removed(&ok).last().unwrap(), "cookie");
    assert!(ok.headers.is_empty());
}

#[test]
fn a_cookie_header_that_is_removed_as_a_whole_is_not_set_as_well() {
    let policy = Policy {
        credentials: CredentialPlaces::new(vec![
            CredentialLocation::Header {
                name: "cookie".into(),
            }
            .into(),
        ])
        .unwrap(),
        ..policy()
    };
    for cookie in [CookieChange::Remove, CookieChange::Replace(b"a=1".to_vec())] {
        let (_, ok) = allow(
            Grounds::Public,
            &policy,
            Edits {
                cookie,
                ..Edits::default()
            },
        );
        assert_eq!(ok.headers, []);
        assert_eq!(
            ok.headers_to_remove
                .iter()
                .filter(|name| *name == "cookie")
                .count(),
            1
        );
    }
}

#[test]
fn a_record_that_escaped_its_checks_sets_no_header_that_could_end_a_line() {
    let names = vec![(
        "x-org".parse().unwrap(),
        "key.metadata.org".parse().unwrap(),
    )];
    let policy = Policy {
        identity: IdentityHeaders::new(names).unwrap(),
        ..policy()
    };
    for (value, set) in [
        ("acme inc", true),
        ("a\r\nx-admin: 1", false),
        ("a\0", false),
        ("\u{e9}", false),
    ] {
        let record = KeyRecord {
            metadata: [("org".into(), MetadataValue::Scalar(value.into()))].into(),
            ..key()
        };
        let (_, ok) = allow(
            Grounds::Key(EncodedKey::of(&record, &policy)),
            &policy,
            Edits::default(),
        );
        assert_eq!(headers(&ok.headers).contains_key("x-org"), set, "{value:?}");
        assert_eq!(
            ok.headers_to_remove.contains(&"x-org".to_owned()),
            !set,
            "{value:?}"
        );
    }
}
