//! What allows change in a request.

use super::*;

#[test]
fn an_allow_of_a_key_sets_its_identity_and_removes_what_it_lacks() {
    let policy = policy();
    let (response, ok) = allow(
        Grounds::Key(EncodedKey::of(&key(), &policy)),
        &policy,
        &request(&[]),
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
fn an_allow_without_a_key_removes_every_identity_header() {
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
        let (_, ok) = allow(grounds, &policy, &request(&[]));
        assert_eq!(ok.headers, []);
        assert_eq!(ok.headers_to_remove, all);
    }
}

/// The usual places, a parameter and a cookie.
fn policy_with_all_places() -> Policy {
    let mut places: Vec<CredentialPlace> = policy().credentials.iter().cloned().collect();
    let (name, strip) = ("api_key", QueryStrip::Parameter);
    let query = CredentialLocation::Query {
        name: name.into(),
        strip,
    };
    places.extend([query.into(), cookie_place()]);
    Policy {
        credentials: CredentialPlaces::new(places).unwrap(),
        ..policy()
    }
}

fn cookie_place() -> CredentialPlace {
    let name = "api_key".into();
    CredentialLocation::Cookie { name }.into()
}

#[test]
fn what_the_request_calls_for_follows_what_the_key_does() {
    let policy = policy_with_all_places();
    let with_cookie = |cookie: &'static [u8]| {
        let mut request = request(&[
            ("authorization", "Bearer K"),
            ("x_keyward_plan", "gold"),
            ("X-Api-Key", "K"),
        ]);
        request.headers.push(b"cookie", cookie);
        request
    };
    let removed = |ok: &OkHttpResponse| ok.headers_to_remove.clone();
    let key = || Grounds::Key(EncodedKey::of(&key(), &policy));

    let request = with_cookie(b"a=1; api_key=K; b=\xff\r\nc");
    let (_, ok) = allow(key(), &policy, &request);
    assert_eq!(headers(&ok.headers)["cookie"], "a=1; b=!!!c");
    assert_eq!(
        removed(&ok),
        [
            "x-keyward-plan",
            "x-api-key",
            "x_keyward_plan",
            "authorization"
        ],
        "each once"
    );
    assert_eq!(ok.query_parameters_to_remove, ["api_key"]);

    let (_, ok) = allow(Grounds::Public, &policy, &with_cookie(b"api_key=K"));
    assert_eq!(removed(&ok).last().unwrap(), "cookie");
    assert!(ok.headers.is_empty());
}

#[test]
fn a_cookie_header_that_is_removed_as_a_whole_is_not_set_as_well() {
    let name = "cookie".into();
    let places = vec![CredentialLocation::Header { name }.into(), cookie_place()];
    let policy = Policy {
        credentials: CredentialPlaces::new(places).unwrap(),
        ..policy()
    };
    for cookie in ["api_key=K", "a=1; api_key=K"] {
        let request = request(&[("cookie", cookie)]);
        let (_, ok) = allow(Grounds::Public, &policy, &request);
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
            &request(&[]),
        );
        assert_eq!(headers(&ok.headers).contains_key("x-org"), set, "{value:?}");
        assert_eq!(
            ok.headers_to_remove.contains(&"x-org".to_owned()),
            !set,
            "{value:?}"
        );
    }
}
