//! Answers as `envoy-types` reads them: by every reason, and by what an allow changes.

use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::core::v3::HeaderValueOption;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{CheckResponse, DeniedHttpResponse, OkHttpResponse};
use envoy_types::pb::google::protobuf::value::Kind;
use prost::Message as _;

use super::*;
use crate::authz::credential::{CredentialPlaces, Place};
use crate::authz::edits::{CookieEdit, Edits};
use crate::authz::identity::IdentityHeaders;
use crate::authz::key::tests::record;
use crate::authz::key::{KeyRecord, MetadataValue};
use crate::authz::reason::Verdict;
use crate::authz::request::Headers;
use crate::authz::rule::{Access, RequestMatch, Rule};
use crate::authz::scope::Scope;
use crate::authz::snapshot::tests::policy;

mod properties;

fn rule() -> Rule {
    Rule { name: "r1".into(), matches: RequestMatch::default(), access: Access::Anyone }
}

/// A key with every value but the plan.
fn key() -> KeyRecord {
    KeyRecord {
        client: Some("acme".parse().unwrap()),
        scopes: ["a:read", "b"].map(|scope| scope.parse().unwrap()).into(),
        ..record("k1")
    }
}

fn request<'a>(lines: &[(&'a str, &'a str)]) -> RequestAttributes<'a> {
    let headers: Headers<'_> = lines.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    RequestAttributes { method: b"GET", host: b"h", target: b"/p?api_key=K&b=1", headers, peer: None, rule: None }
}

fn decode(bytes: &[u8]) -> CheckResponse {
    CheckResponse::decode(bytes).unwrap()
}

fn refuse(refusal: Refusal<'_, KeyWire>, policy: &Policy, lines: &[(&str, &str)]) -> CheckResponse {
    decode(&encode(&Decision::refuse(refusal), policy, Some(&request(lines))))
}

fn allow(basis: Basis<'_, KeyWire>, policy: &Policy, edits: Edits<'_>) -> (CheckResponse, OkHttpResponse) {
    let response = decode(&encode(&Decision::Allow(Grant { basis, rule: None, edits }), policy, None));
    let Some(HttpResponse::OkResponse(ok)) = response.http_response.clone() else { panic!("{response:?}") };
    assert_eq!(response.status.as_ref().map(|status| status.code), Some(0), "an allow says so");
    (response, ok)
}

fn denial(response: &CheckResponse) -> &DeniedHttpResponse {
    match &response.http_response {
        Some(HttpResponse::DeniedResponse(denial) | HttpResponse::ErrorResponse(denial)) => denial,
        other => panic!("{other:?}"),
    }
}

#[expect(deprecated, reason = "append_action, which replaces append elsewhere, is ignored on requests")]
fn headers(options: &[HeaderValueOption]) -> BTreeMap<&str, &str> {
    for option in options {
        assert_eq!(option.append.as_ref().map(|append| append.value), Some(false), "{option:?}");
        assert!(option.header.as_ref().unwrap().raw_value.is_empty(), "Envoy sets an empty value from it");
    }
    let found: BTreeMap<_, _> = options
        .iter()
        .map(|option| option.header.as_ref().map(|header| (&*header.key, &*header.value)).unwrap())
        .collect();
    assert_eq!(found.len(), options.len(), "no header is set twice");
    found
}

/// The members of `keyward` in the dynamic metadata.
fn metadata(response: &CheckResponse) -> BTreeMap<String, String> {
    let fields = &response.dynamic_metadata.as_ref().unwrap().fields;
    assert_eq!(fields.len(), 1, "{fields:?}");
    let Some(Kind::StructValue(members)) = fields["keyward"].kind.clone() else { panic!("{fields:?}") };
    let text = |kind| match kind {
        Some(Kind::StringValue(text)) => text,
        other => panic!("{other:?}"),
    };
    members.fields.into_iter().map(|(name, value)| (name, text(value.kind))).collect()
}

fn members<const N: usize>(members: [(&str, &str); N]) -> BTreeMap<String, String> {
    members.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

#[test]
fn every_answer_but_an_allow_has_a_status_that_is_not_zero() {
    for &reason in Reason::ALL {
        // Even a refusal for a reason that allows, which no code makes, may not become an allow.
        for decision in
            [Decision::Deny(Refusal::<KeyWire>::new(reason)), Decision::Unavailable(Refusal::<KeyWire>::new(reason))]
        {
            let response = decode(&encode(&decision, &policy(), None));
            assert!(response.status.as_ref().is_some_and(|status| status.code > 0), "{reason}: {response:?}");
            let sent = denial(&response).status.as_ref().unwrap().code;
            assert!(matches!(sent, 400 | 401 | 403 | 429 | 500 | 503), "{reason}: {sent}");
            assert!(reason.verdict() == Verdict::Allow || sent == i32::from(reason.http_status()), "{reason}");
        }
    }
}

#[test]
fn statuses_are_those_that_grpc_has_for_them() {
    for (reason, code) in [
        (Reason::BadRequest, 3),
        (Reason::MissingKey, 16),
        (Reason::RouteDenied, 7),
        (Reason::InvalidRecord, 13),
        (Reason::Overloaded, 14),
    ] {
        let response = refuse(Refusal::new(reason), &policy(), &[]);
        let status = response.status.unwrap();
        assert_eq!((status.code, &*status.message), (code, reason.as_str()));
    }
}

#[test]
fn only_a_source_that_fails_is_an_error_to_envoy() {
    for &reason in Reason::ALL.iter().filter(|reason| reason.verdict() != Verdict::Allow) {
        let response = refuse(Refusal::new(reason), &policy(), &[]);
        let is_error = matches!(response.http_response, Some(HttpResponse::ErrorResponse(_)));
        assert_eq!(is_error, reason == Reason::SourceUnavailable, "{reason}");
    }
}

#[test]
fn a_caller_who_speaks_http_gets_a_problem_document() {
    let moment = "2027-02-01T00:00:00Z".parse().unwrap();
    let refusal = Refusal { moment: Some(moment), ..Refusal::new(Reason::KeyExpired) };
    for content_type in ["application/json", "application/grpc-web", "application/grpc-web+proto", "application/grpcx"]
    {
        let refusal = Refusal { key: None, ..refusal };
        let response = refuse(refusal, &policy(), &[("content-type", content_type)]);
        let denial = denial(&response);
        assert_eq!(
            denial.body,
            r#"{"type":"about:blank","title":"Unauthorized","status":401,"code":"key_expired","detail":"The API key expired at 2027-02-01T00:00:00Z."}"#,
        );
        assert_eq!(headers(&denial.headers)["content-type"], "application/problem+json");
    }
}

#[test]
fn a_grpc_caller_gets_one_plain_sentence() {
    for content_type in ["application/grpc", "application/grpc+proto"] {
        let response = refuse(Refusal::new(Reason::UnknownKey), &policy(), &[("content-type", content_type)]);
        let denial = denial(&response);
        assert_eq!(denial.body, "The API key is not known.");
        assert!(!headers(&denial.headers).contains_key("content-type"), "that is Envoy's to set");
        assert_eq!(headers(&denial.headers)["cache-control"], "no-store");
    }
}

#[test]
fn refusals_have_the_headers_of_their_status() {
    let scopes: [Scope; 2] = ["admin", "a:b"].map(|scope| scope.parse().unwrap());
    let bearer = policy();
    let others = Policy {
        credentials: CredentialPlaces::new(vec![Place::Header { name: "x-api-key".into() }]).unwrap(),
        ..policy()
    };
    let invalid = r#"Bearer realm="keyward", error="invalid_token""#;
    let lacking = r#"Bearer realm="keyward", error="insufficient_scope", scope="admin a:b""#;
    for (reason, policy, challenge, retry_after) in [
        (Reason::MissingKey, &bearer, Some(r#"Bearer realm="keyward""#), None),
        (Reason::UnknownKey, &bearer, Some(invalid), None),
        (Reason::KeyRevoked, &bearer, Some(invalid), None),
        (Reason::AmbiguousKey, &bearer, Some(invalid), None),
        (Reason::MissingKey, &others, Some(r#"ApiKey realm="keyward""#), None),
        (Reason::UnknownKey, &others, Some(r#"ApiKey realm="keyward""#), None),
        (Reason::InsufficientScope, &bearer, Some(lacking), None),
        (Reason::RouteDenied, &bearer, None, None),
        (Reason::BadRequest, &bearer, None, None),
        (Reason::InvalidRecord, &bearer, None, None),
        (Reason::SourceUnavailable, &bearer, None, Some("1")),
        (Reason::LimitsUnavailable, &bearer, None, Some("1")),
        (Reason::Overloaded, &bearer, None, Some("1")),
    ] {
        let refusal = Refusal { scopes: &scopes, ..Refusal::new(reason) };
        let response = refuse(refusal, policy, &[]);
        let headers = headers(&denial(&response).headers);
        assert_eq!(headers.get("www-authenticate").copied(), challenge, "{reason}");
        assert_eq!(headers.get("retry-after").copied(), retry_after, "{reason}");
        assert_eq!(headers["cache-control"], "no-store", "{reason}");
    }
}

#[test]
fn an_allow_of_a_key_sets_its_identity_and_removes_what_it_lacks() {
    let policy = policy();
    let (response, ok) = allow(Basis::Key(KeyWire::of(&key(), &policy)), &policy, Edits::default());
    assert_eq!(
        headers(&ok.headers),
        [("x-keyward-key-id", "k1"), ("x-keyward-client", "acme"), ("x-keyward-scopes", "a:read b")].into(),
    );
    assert_eq!(ok.headers_to_remove, ["x-keyward-plan", "x-api-key"]);
    assert!(ok.query_parameters_to_remove.is_empty(), "Envoy sorts the query for each");
    let expected = [("decision", "allow"), ("reason", "allowed"), ("key_id", "k1"), ("client", "acme")];
    assert_eq!(metadata(&response), members(expected));
}

#[test]
fn an_allow_of_nobody_removes_every_identity_header() {
    let policy = policy();
    let all = ["x-keyward-key-id", "x-keyward-client", "x-keyward-scopes", "x-keyward-plan", "x-api-key"];
    let refused = || Refusal { key: Some(KeyWire::of(&key(), &policy)), ..Refusal::new(Reason::KeyDisabled) };
    for basis in [Basis::Public, Basis::Observed(refused())] {
        let (_, ok) = allow(basis, &policy, Edits::default());
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
        cookie,
    };
    let removed = |ok: &OkHttpResponse| ok.headers_to_remove.clone();
    let key = || Basis::Key(KeyWire::of(&key(), &policy));

    let (_, ok) = allow(key(), &policy, of(CookieEdit::Replace(b"a=1; b=\xff\r\n".to_vec())));
    assert_eq!(headers(&ok.headers)["cookie"], "a=1; b=!!!");
    assert_eq!(removed(&ok), ["x-keyward-plan", "x-api-key", "authorization", "x_keyward_plan"], "each once");
    assert_eq!(ok.query_parameters_to_remove, ["api_key"]);

    let (_, ok) = allow(Basis::Public, &policy, of(CookieEdit::Remove));
    assert_eq!(removed(&ok).last().unwrap(), "cookie");
    assert!(ok.headers.is_empty());
}

#[test]
fn a_cookie_header_that_is_removed_as_a_whole_is_not_set_as_well() {
    let policy = Policy {
        credentials: CredentialPlaces::new(vec![Place::Header { name: "cookie".into() }]).unwrap(),
        ..policy()
    };
    for cookie in [CookieEdit::Remove, CookieEdit::Replace(b"a=1".to_vec())] {
        let (_, ok) = allow(Basis::Public, &policy, Edits { cookie, ..Edits::default() });
        assert_eq!(ok.headers, []);
        assert_eq!(ok.headers_to_remove.iter().filter(|name| *name == "cookie").count(), 1);
    }
}

#[test]
fn metadata_tells_the_would_be_decision_and_what_is_known() {
    let (policy, rule) = (policy(), rule());
    let record = KeyRecord { plan: Some("gold".parse().unwrap()), ..key() };
    let refused = || Refusal {
        key: Some(KeyWire::of(&record, &policy)),
        rule: Some(&rule),
        ..Refusal::new(Reason::IpNotAllowed)
    };
    let all = members([
        ("decision", "deny"),
        ("reason", "ip_not_allowed"),
        ("key_id", "k1"),
        ("client", "acme"),
        ("plan", "gold"),
        ("rule", "r1"),
    ]);
    assert_eq!(metadata(&refuse(refused(), &policy, &[])), all);
    let observed = Grant { basis: Basis::Observed(refused()), rule: Some(&rule), edits: Edits::default() };
    assert_eq!(metadata(&decode(&encode(&Decision::Allow(observed), &policy, None))), all, "in observe mode");
    let unavailable = metadata(&refuse(Refusal::new(Reason::Overloaded), &policy, &[]));
    assert_eq!(unavailable, members([("decision", "error"), ("reason", "overloaded")]));
}

#[test]
fn a_long_rule_name_is_told_whole() {
    let (policy, mut rule) = (policy(), rule());
    for len in [1, 100, 127, 128, 16_383, 16_384, 70_000] {
        rule.name = "r".repeat(len).into();
        let refusal = Refusal { rule: Some(&rule), ..Refusal::new(Reason::RouteDenied) };
        assert_eq!(metadata(&refuse(refusal, &policy, &[]))["rule"].len(), len);
    }
}

#[test]
fn a_record_that_escaped_its_checks_sets_no_header_that_could_end_a_line() {
    let names = vec![("x-org".parse().unwrap(), "key.metadata.org".parse().unwrap())];
    let policy = Policy { identity: IdentityHeaders::new(names).unwrap(), ..policy() };
    for (value, set) in [("acme inc", true), ("a\r\nx-admin: 1", false), ("a\0", false), ("\u{e9}", false)] {
        let record = KeyRecord { metadata: [("org".into(), MetadataValue::Scalar(value.into()))].into(), ..key() };
        let (_, ok) = allow(Basis::Key(KeyWire::of(&record, &policy)), &policy, Edits::default());
        assert_eq!(headers(&ok.headers).contains_key("x-org"), set, "{value:?}");
        assert_eq!(ok.headers_to_remove.contains(&"x-org".to_owned()), !set, "{value:?}");
    }
}
