//! What the caller of a refused request gets: status, headers and body.
//!
//! Nothing of the request is echoed, so that nothing in it can break out of a header line or a document; what varies
//! are moments and the operator's scopes, realm and credential places, which were checked when they were read.

use serde_json::json;
use tonic::Code;

use super::{Caller, header};
use crate::authz::decision::Refusal;
use crate::authz::reason::{DecisionKind, Reason};
use crate::authz::scope::Scope;
use crate::authz::snapshot::Policy;
use crate::envoy::proto::envoy::service::auth::v3::DeniedHttpResponse;
use crate::envoy::proto::envoy::r#type::v3::HttpStatus;
use crate::envoy::proto::google::rpc::Status;

/// When a caller may try again after keyward could not decide, in seconds: a source that recovers does so in moments.
const RETRY_AFTER_SECONDS: &str = "1";

/// The status that makes an answer a refusal. Never zero.
pub(super) fn status(reason: Reason) -> Status {
    let code = match http_status(reason) {
        400 => Code::InvalidArgument,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        429 => Code::ResourceExhausted,
        503 => Code::Unavailable,
        _ => Code::Internal,
    };
    Status {
        code: code.into(),
        message: reason.as_str().to_owned(),
    }
}

/// What the caller gets.
pub(super) fn response<K>(
    refusal: &Refusal<'_, K>,
    policy: &Policy,
    caller: Caller,
) -> DeniedHttpResponse {
    let code = http_status(refusal.reason);
    let mut headers = vec![header("cache-control", "no-store".to_owned())];
    if let Some(challenge) = challenge(refusal, policy) {
        headers.push(header("www-authenticate", challenge));
    }
    if code == 503 {
        headers.push(header("retry-after", RETRY_AFTER_SECONDS.to_owned()));
    }
    let body = match caller {
        // No content type: Envoy gives the answer the form that gRPC wants.
        Caller::Grpc => sentence(refusal, policy),
        Caller::Http => {
            headers.push(header(
                "content-type",
                "application/problem+json".to_owned(),
            ));
            problem(refusal.reason, code, &detail(refusal, policy))
        }
    };
    DeniedHttpResponse {
        status: Some(HttpStatus { code: code.into() }),
        headers,
        body,
    }
}

/// The HTTP status of a refusal. A refusal for a reason that allows does not happen, and is a fault of ours if it does.
fn http_status(reason: Reason) -> u16 {
    match reason.kind() {
        DecisionKind::Allow => 500,
        DecisionKind::Deny | DecisionKind::Error => reason.http_status(),
    }
}

/// The challenge of a 401 (RFC 9110 section 11.6.1), and the one that names lacking scopes (RFC 6750 section 3.1).
fn challenge<K>(refusal: &Refusal<'_, K>, policy: &Policy) -> Option<String> {
    let realm = policy.realm.as_str();
    if refusal.reason == Reason::InsufficientScope {
        let scopes: Vec<&str> = refusal.scopes.iter().map(Scope::as_str).collect();
        let scopes = scopes.join(" ");
        return Some(format!(
            r#"Bearer realm="{realm}", error="insufficient_scope", scope="{scopes}""#
        ));
    }
    if http_status(refusal.reason) != 401 {
        return None;
    }
    Some(
        match (
            policy.credentials.has_bearer(),
            refusal.reason.is_invalid_token(),
        ) {
            (true, true) => format!(r#"Bearer realm="{realm}", error="invalid_token""#),
            (true, false) => format!(r#"Bearer realm="{realm}""#),
            (false, _) => format!(r#"ApiKey realm="{realm}""#),
        },
    )
}

/// What a caller is told, and how to do better where a caller can.
fn detail<K>(refusal: &Refusal<'_, K>, policy: &Policy) -> String {
    let sentence = refusal.sentence();
    if refusal.reason.concerns_place() {
        format!("{sentence} {}", policy.credentials.directions())
    } else {
        sentence.into_owned()
    }
}

/// The same in one sentence, for `grpc-message`.
fn sentence<K>(refusal: &Refusal<'_, K>, policy: &Policy) -> String {
    let sentence = refusal.sentence();
    if refusal.reason.concerns_place() {
        let told = sentence.trim_end_matches('.');
        format!("{told}: {}.", policy.credentials.grpc_directions())
    } else {
        sentence.into_owned()
    }
}

/// A problem document (RFC 9457); its members keep this order.
fn problem(reason: Reason, code: u16, detail: &str) -> String {
    let document = json!({
        "type": "about:blank",
        "title": title(code),
        "status": code,
        "code": reason.as_str(),
        "detail": detail,
    });
    document.to_string()
}

/// The title that `about:blank` asks for: the status's own phrase (RFC 9457 section 4.2.1).
fn title(code: u16) -> &'static str {
    let status = http::StatusCode::from_u16(code).ok();
    status
        .and_then(|status| status.canonical_reason())
        .unwrap_or("Error")
}
