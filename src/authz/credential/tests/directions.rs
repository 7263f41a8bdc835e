//! Texts about credential places, for callers and operators.

use super::*;

#[test]
fn directions_say_where_a_key_belongs() {
    assert_eq!(
        places().directions(),
        "Send the API key as `x-api-key: KEY`, `Authorization: Bearer KEY`, `?api_key=KEY` or `Cookie: api_key=KEY`."
    );
    // A gRPC client sends metadata, which are headers.
    assert_eq!(
        places().grpc_directions(),
        "send it as `x-api-key: KEY` or `Authorization: Bearer KEY`"
    );
    let query = CredentialLocation::Query {
        name: "k".into(),
        strip: QueryStrip::Parameter,
    };
    let only = CredentialPlaces::new(vec![query.into()]).unwrap();
    assert_eq!(only.directions(), "Send the API key as `?k=KEY`.");
    assert_eq!(only.grpc_directions(), "send it as `?k=KEY`");
}

#[test]
fn the_places_of_an_ambiguous_request_are_named_without_their_values() {
    let lines = [
        ("x-api-key", "KA"),
        ("authorization", "Bearer KB"),
        ("cookie", "api_key=KC"),
    ];
    assert_eq!(
        places().filled(&request("/?api_key=KD", &lines)),
        [
            "x-api-key",
            "authorization",
            "query:api_key",
            "cookie:api_key"
        ]
    );
    let twice = [("x-api-key", "KA,KB"), ("authorization", "Basic KA")];
    assert_eq!(places().filled(&request("/", &twice)), ["x-api-key"]);
}

#[test]
fn a_scheme_where_none_belongs_and_a_missing_one_are_hinted_at_without_a_value() {
    let cases: &[(&str, &str, &str, Option<&str>)] = &[
        (
            "a bearer token in a header of its own",
            "x-api-key",
            "Bearer KA",
            Some(
                "header x-api-key has the scheme Bearer before the key, where the key stands alone",
            ),
        ),
        (
            "a scheme twice",
            "authorization",
            "Bearer bearer KA",
            Some(
                "header authorization with scheme Bearer has the scheme Bearer once more before the key",
            ),
        ),
        (
            "no scheme",
            "authorization",
            "KA",
            Some("header authorization has no scheme Bearer in front"),
        ),
        (
            "another scheme",
            "authorization",
            "Basic KA",
            Some("header authorization has no scheme Bearer in front"),
        ),
        (
            "a scheme alone",
            "authorization",
            "Bearer ",
            Some("header authorization has nothing after Bearer"),
        ),
        ("a space within", "x-api-key", "KA KB", None),
        ("an empty header", "x-api-key", "", None),
    ];
    for (name, header, value, hint) in cases {
        let lines = [(*header, *value)];
        let request = request("/", &lines);
        let reason = match places().find(&request) {
            Ok(None) => Reason::MissingKey,
            Ok(Some(_)) => panic!("{name}: a secret is found"),
            Err(reason) => reason,
        };
        assert_eq!(places().hint(&request, reason).as_deref(), *hint, "{name}");
    }
}
