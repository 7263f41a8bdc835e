//! What the caller of a refused request gets: status, headers and body.
//!
//! Nothing of the request is echoed, so that nothing in it can break out of a header line or a
//! document. What varies are moments and the operator's scopes, realm and credential places, which
//! were checked when they were read.

use serde_json::json;

use crate::authz::decision::Refusal;
use crate::authz::reason::{DecisionKind, Reason};
use crate::authz::request::RequestAttributes;
use crate::authz::scope::Scope;
use crate::authz::snapshot::Policy;

/// When a caller may try again after keyward could not decide, in seconds: a source that recovers
/// does so in moments.
const RETRY_AFTER_SECONDS: &str = "1";

/// What the caller of a refused request gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The HTTP status, never below 400.
    pub status: u16,
    /// Headers, each named once.
    pub headers: Vec<(&'static str, String)>,
    /// The body; text in either case.
    pub body: String,
}

/// The protocol that a caller speaks, and so the form of a denial's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallerProtocol {
    /// A problem document (RFC 9457).
    Http,
    /// One sentence, for Envoy makes the body into `grpc-message`.
    Grpc,
}

impl CallerProtocol {
    /// The protocol of a request, by its content type. The test is Envoy's own, to the letter,
    /// since it is Envoy that makes a body into `grpc-message`; gRPC-Web is plain HTTP to it.
    pub fn of(request: Option<&RequestAttributes<'_>>) -> Self {
        let content_type = request.and_then(|request| request.headers.single("content-type"));
        match content_type.and_then(|value| value.strip_prefix(b"application/grpc")) {
            Some([] | [b'+', ..]) => Self::Grpc,
            Some(_) | None => Self::Http,
        }
    }
}

impl Denial {
    /// The answer to a refused caller under that policy.
    pub fn of<K>(refusal: &Refusal<'_, K>, policy: &Policy, protocol: CallerProtocol) -> Self {
        let status = http_status(refusal.reason);
        let mut headers = vec![("cache-control", "no-store".to_owned())];
        if let Some(challenge) = challenge(refusal, policy) {
            headers.push(("www-authenticate", challenge));
        }
        if status == 503 {
            headers.push(("retry-after", RETRY_AFTER_SECONDS.to_owned()));
        }
        let body = match protocol {
            // No content type: Envoy gives the answer the form that gRPC wants.
            CallerProtocol::Grpc => sentence(refusal, policy),
            CallerProtocol::Http => {
                headers.push(("content-type", "application/problem+json".to_owned()));
                problem(refusal.reason, status, &detail(refusal, policy))
            }
        };
        Self {
            status,
            headers,
            body,
        }
    }
}

/// The HTTP status of a refusal. One for a reason that allows would be a bug in keyward, and must
/// not become an allow.
pub fn http_status(reason: Reason) -> u16 {
    match reason.kind() {
        DecisionKind::Allow => 500,
        DecisionKind::Deny | DecisionKind::Error => reason.http_status(),
    }
}

/// The challenge of a 401 (RFC 9110 section 11.6.1), and the one that names lacking scopes (RFC
/// 6750 section 3.1).
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

/// The reason's sentence, and where a key belongs if the caller needs to know.
fn detail<K>(refusal: &Refusal<'_, K>, policy: &Policy) -> String {
    let sentence = refusal.sentence();
    if refusal.reason.concerns_place() {
        format!("{sentence} {}", policy.credentials.directions())
    } else {
        sentence.into_owned()
    }
}

/// The same in one sentence.
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
