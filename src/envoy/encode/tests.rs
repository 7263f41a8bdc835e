//! Answers as `envoy-types` reads them: by every reason, and by what an allow changes.

use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::core::v3::HeaderValueOption;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{
    CheckResponse, DeniedHttpResponse, OkHttpResponse,
};
use envoy_types::pb::google::protobuf::value::Kind;
use prost::Message as _;

use super::*;
use crate::authz::credential::{CredentialLocation, CredentialPlace, CredentialPlaces, QueryStrip};
use crate::authz::decision::Grant;
use crate::authz::identity::IdentityHeaders;
use crate::authz::key::tests::record;
use crate::authz::key::{KeyRecord, MetadataValue};
use crate::authz::reason::DecisionKind;
use crate::authz::request::Headers;
use crate::authz::rule::{Access, RequestMatch, Rule};
use crate::authz::scope::Scope;
use crate::authz::snapshot::tests::policy;

mod allows;
mod denied;
mod properties;

fn rule() -> Rule {
    Rule {
        name: "r1".into(),
        matches: RequestMatch::default(),
        access: Access::Anyone,
    }
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
    let headers: Headers<'_> = lines
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
        .collect();
    RequestAttributes {
        method: b"GET",
        host: b"h",
        target: b"/p?api_key=K&b=1",
        scheme: b"https",
        headers,
        peer: None,
        rule: None,
    }
}

fn decode(bytes: &[u8]) -> CheckResponse {
    CheckResponse::decode(bytes).unwrap()
}

fn refuse(
    refusal: Refusal<'_, EncodedKey>,
    policy: &Policy,
    lines: &[(&str, &str)],
) -> CheckResponse {
    decode(&encode_response(
        &Decision::Deny(refusal),
        policy,
        Some(&request(lines)),
        "id",
    ))
}

fn allow(
    grounds: Grounds<'_, EncodedKey>,
    policy: &Policy,
    request: &RequestAttributes<'_>,
) -> (CheckResponse, OkHttpResponse) {
    let decision = Decision::Allow(Grant {
        grounds,
        rule: None,
    });
    let response = decode(&encode_response(&decision, policy, Some(request), "id"));
    let Some(HttpResponse::OkResponse(ok)) = response.http_response.clone() else {
        panic!("{response:?}")
    };
    assert_eq!(
        response.status.as_ref().map(|status| status.code),
        Some(0),
        "an allow says so"
    );
    (response, ok)
}

fn denial(response: &CheckResponse) -> &DeniedHttpResponse {
    match &response.http_response {
        Some(HttpResponse::DeniedResponse(denial) | HttpResponse::ErrorResponse(denial)) => denial,
        other => panic!("{other:?}"),
    }
}

#[expect(
    deprecated,
    reason = "append_action, which replaces append elsewhere, is ignored on requests"
)]
fn headers(options: &[HeaderValueOption]) -> BTreeMap<&str, &str> {
    for option in options {
        assert_eq!(
            option.append.as_ref().map(|append| append.value),
            Some(false),
            "{option:?}"
        );
        assert!(
            option.header.as_ref().unwrap().raw_value.is_empty(),
            "Envoy sets an empty value from it"
        );
    }
    let found: BTreeMap<_, _> = options
        .iter()
        .map(|option| {
            option
                .header
                .as_ref()
                .map(|header| (&*header.key, &*header.value))
                .unwrap()
        })
        .collect();
    assert_eq!(found.len(), options.len(), "no header is set twice");
    found
}

/// The members of `keyward` in the dynamic metadata.
fn metadata(response: &CheckResponse) -> BTreeMap<String, String> {
    let fields = &response.dynamic_metadata.as_ref().unwrap().fields;
    assert_eq!(fields.len(), 1, "{fields:?}");
    let Some(Kind::StructValue(members)) = fields["keyward"].kind.clone() else {
        panic!("{fields:?}")
    };
    let text = |kind| match kind {
        Some(Kind::StringValue(text)) => text,
        other => panic!("{other:?}"),
    };
    members
        .fields
        .into_iter()
        .map(|(name, value)| (name, text(value.kind)))
        .collect()
}

/// These members, and the id under which tests encode.
fn members<const N: usize>(members: [(&str, &str); N]) -> BTreeMap<String, String> {
    let all = members.into_iter().chain([("decision_id", "id")]);
    all.map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn metadata_holds_the_would_be_decision_and_what_is_known() {
    let (policy, rule) = (policy(), rule());
    let record = KeyRecord {
        plan: Some("gold".parse().unwrap()),
        ..key()
    };
    let refused = || Refusal {
        key: Some(EncodedKey::of(&record, &policy)),
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
    let observed = Grant {
        grounds: Grounds::Observed(refused()),
        rule: Some(&rule),
    };
    assert_eq!(
        metadata(&decode(&encode_response(
            &Decision::Allow(observed),
            &policy,
            None,
            "id"
        ))),
        all,
        "in observe mode"
    );
    let unavailable = metadata(&refuse(Refusal::new(Reason::Overloaded), &policy, &[]));
    assert_eq!(
        unavailable,
        members([("decision", "error"), ("reason", "overloaded")])
    );
}

#[test]
fn a_long_rule_name_is_in_the_metadata_whole() {
    let (policy, mut rule) = (policy(), rule());
    for len in [1, 100, 127, 128, 16_383, 16_384, 70_000] {
        rule.name = "r".repeat(len).into();
        let refusal = Refusal {
            rule: Some(&rule),
            ..Refusal::new(Reason::RouteDenied)
        };
        assert_eq!(metadata(&refuse(refusal, &policy, &[]))["rule"].len(), len);
    }
}
