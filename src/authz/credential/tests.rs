//! What counts as a credential, place by place, in both shapes that Envoy sends.

use super::*;
use crate::authz::request::Headers;

mod directions;
mod prefix;

pub(crate) fn places() -> CredentialPlaces {
    CredentialPlaces::new(vec![
        CredentialLocation::Header {
            name: "x-api-key".into(),
        }
        .into(),
        CredentialLocation::Scheme {
            name: "authorization".into(),
            scheme: "Bearer".into(),
        }
        .into(),
        CredentialLocation::Query {
            name: "api_key".into(),
            strip: QueryStrip::Parameter,
        }
        .into(),
        CredentialLocation::Cookie {
            name: "api_key".into(),
        }
        .into(),
    ])
    .unwrap()
}

pub(crate) fn request<'a>(target: &'a str, lines: &'a [(&str, &str)]) -> RequestAttributes<'a> {
    let headers: Headers<'_> = lines
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
        .collect();
    RequestAttributes {
        method: b"GET",
        host: b"h",
        target: target.as_bytes(),
        scheme: b"https",
        headers,
        peer: None,
        rule: None,
    }
}

/// What is found: the secret as text, or the reason.
fn found(target: &str, lines: &[(&str, &str)]) -> Result<Option<String>, Reason> {
    found_at(&places(), target, lines)
}

fn found_at(
    places: &CredentialPlaces,
    target: &str,
    lines: &[(&str, &str)],
) -> Result<Option<String>, Reason> {
    let text = |secret: &[u8]| String::from_utf8_lossy(secret).into_owned();
    places
        .find(&request(target, lines))
        .map(|credential| credential.map(|credential| credential.with_bytes(text)))
}

#[test]
fn one_credential_is_found_in_whichever_place_it_is() {
    let cases: &[(&str, &str, &[(&str, &str)], Option<&str>)] = &[
        ("nothing at all", "/", &[], None),
        ("a header", "/", &[("x-api-key", "KA")], Some("KA")),
        (
            "a header in another case",
            "/",
            &[("X-Api-Key", "KA")],
            Some("KA"),
        ),
        ("an empty header", "/", &[("x-api-key", "")], None),
        (
            "a bearer token",
            "/",
            &[("authorization", "Bearer KA")],
            Some("KA"),
        ),
        (
            "a scheme in another case",
            "/",
            &[("authorization", "bEaReR KA")],
            Some("KA"),
        ),
        (
            "several spaces after the scheme",
            "/",
            &[("authorization", "Bearer   KA")],
            Some("KA"),
        ),
        ("a scheme alone", "/", &[("authorization", "Bearer")], None),
        (
            "a scheme and a space",
            "/",
            &[("authorization", "Bearer ")],
            None,
        ),
        (
            "another scheme",
            "/",
            &[("authorization", "Basic KA")],
            None,
        ),
        (
            "another scheme with a comma",
            "/",
            &[("authorization", "Digest a=\"b\", c=\"d\"")],
            None,
        ),
        (
            "a longer scheme name",
            "/",
            &[("authorization", "Bearers KA")],
            None,
        ),
        ("a query parameter", "/?a=1&api_key=KA&b", &[], Some("KA")),
        (
            "a query parameter decoded once",
            "/?api_key=K%41%2541",
            &[],
            Some("KA%41"),
        ),
        ("a plus sign is itself", "/?api_key=K+A", &[], Some("K+A")),
        (
            "a percent sign without digits is itself",
            "/?api_key=K%zz",
            &[],
            Some("K%zz"),
        ),
        (
            "a parameter name is never decoded",
            "/?api%5Fkey=KA",
            &[],
            None,
        ),
        ("a parameter name has a case", "/?API_KEY=KA", &[], None),
        ("an empty parameter", "/?api_key=", &[], None),
        ("a parameter without a value", "/?api_key", &[], None),
        ("a parameter in the path is none", "/api_key=KA", &[], None),
        (
            "a cookie",
            "/",
            &[("cookie", "a=1; api_key=KA; b=2")],
            Some("KA"),
        ),
        (
            "a cookie in a joined line",
            "/",
            &[("cookie", "a=1,api_key=KA")],
            Some("KA"),
        ),
        (
            "a cookie in a second line",
            "/",
            &[("cookie", "a=1"), ("cookie", "api_key=KA")],
            Some("KA"),
        ),
        (
            "a cookie name has a case",
            "/",
            &[("cookie", "Api_Key=KA")],
            None,
        ),
        (
            "a cookie whose value has an equals sign",
            "/",
            &[("cookie", "api_key=K=A")],
            Some("K=A"),
        ),
        (
            "the same secret in two places",
            "/?api_key=K%41",
            &[("x-api-key", "KA")],
            Some("KA"),
        ),
    ];
    for (name, target, lines, secret) in cases {
        assert_eq!(
            found(target, lines),
            Ok(secret.map(str::to_owned)),
            "{name}"
        );
    }
}

#[test]
fn two_credentials_are_ambiguous() {
    let cases: &[(&str, &str, &[(&str, &str)])] = &[
        (
            "two lines",
            "/",
            &[("x-api-key", "KA"), ("x-api-key", "KB")],
        ),
        (
            "two equal lines",
            "/",
            &[("x-api-key", "KA"), ("x-api-key", "KA")],
        ),
        (
            "two lines that differ in the name's case",
            "/",
            &[("x-api-key", "KA"), ("X-API-KEY", "KA")],
        ),
        (
            "one of two lines is empty",
            "/",
            &[("x-api-key", "KA"), ("x-api-key", "")],
        ),
        ("joined lines", "/", &[("x-api-key", "KA,KB")]),
        ("a comma at the end", "/", &[("x-api-key", "KA,")]),
        ("a comma at the start", "/", &[("x-api-key", ",KA")]),
        ("a comma alone", "/", &[("x-api-key", ",")]),
        (
            "bearer twice",
            "/",
            &[("authorization", "Bearer KA,Bearer KB")],
        ),
        (
            "bearer twice with a space",
            "/",
            &[("authorization", "Bearer KA, bearer KA")],
        ),
        (
            "bearer twice in two lines",
            "/",
            &[
                ("authorization", "Bearer KA"),
                ("authorization", "Bearer KA"),
            ],
        ),
        (
            "bearer with a comma",
            "/",
            &[("authorization", "Bearer KA,KB")],
        ),
        (
            "bearer behind another scheme",
            "/",
            &[("authorization", "Basic KA,Bearer KB")],
        ),
        (
            "bearer behind an empty line",
            "/",
            &[("authorization", ""), ("authorization", "Bearer KB")],
        ),
        ("a parameter twice", "/?api_key=KA&api_key=KA", &[]),
        ("a parameter once empty", "/?api_key=KA&api_key", &[]),
        (
            "a cookie twice",
            "/",
            &[("cookie", "api_key=KA; api_key=KA")],
        ),
        (
            "a cookie twice in joined lines",
            "/",
            &[("cookie", "api_key=KA,api_key=KB")],
        ),
        (
            "two places that differ",
            "/?api_key=KB",
            &[("x-api-key", "KA")],
        ),
        (
            "ambiguous and malformed",
            "/?api_key=K%00",
            &[("x-api-key", "KA,")],
        ),
    ];
    for (name, target, lines) in cases {
        assert_eq!(found(target, lines), Err(Reason::AmbiguousKey), "{name}");
    }
}

#[test]
fn what_cannot_be_a_secret_is_malformed() {
    let longest = "k".repeat(MAX_SECRET_BYTES);
    let longer = "k".repeat(MAX_SECRET_BYTES + 1);
    assert_eq!(
        found("/", &[("x-api-key", &longest)]),
        Ok(Some(longest.clone()))
    );
    let encoded: String = "%6b".repeat(MAX_SECRET_BYTES);
    assert_eq!(
        found(&format!("/?api_key={encoded}"), &[]),
        Ok(Some(longest))
    );
    for (name, target, value) in [
        ("too long", "/", longer.as_str()),
        ("a space within", "/", "K A"),
        ("a tab after the scheme's place", "/", "K\tA"),
        ("beyond ASCII", "/", "Kä"),
        ("a control byte", "/", "K\u{7f}"),
        ("an encoded control byte", "/?api_key=K%0a", ""),
        ("an encoded byte beyond ASCII", "/?api_key=K%ff", ""),
    ] {
        assert_eq!(
            found(target, &[("x-api-key", value)]),
            Err(Reason::MalformedKey),
            "{name}"
        );
    }
    assert_eq!(
        found("/", &[("authorization", "Bearer\tKA")]),
        Err(Reason::MalformedKey)
    );
}

#[test]
fn debug_shows_nothing_of_a_secret() {
    assert_eq!(
        format!("{:?}", Credential::plain(b"canary")),
        "Credential(..)"
    );
}
