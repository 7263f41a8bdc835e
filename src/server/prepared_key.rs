//! What the cache holds with a key's record, and what a check records.
//!
//! A prepared key has its bytes for the wire and its metric series, so that a check neither formats
//! nor looks up anything for them. Here `envoy`, the authorizer and `observe` meet, which do not
//! know each other.

use std::sync::Arc;

use crate::authorizer::PresentedKey;
use crate::authz::decision::Decision;
use crate::authz::key::KeyRecord;
use crate::authz::reason::Reason;
use crate::authz::request::RequestAttributes;
use crate::authz::snapshot::{Policy, Snapshot};
use crate::envoy::encode::{EncodedKey, HasEncodedKey};
use crate::envoy::service::{CheckObserver, CompletedCheck};
use crate::observe::metrics::{KeySeries, Metrics};
use crate::observe::{CheckRecord, Observer};

/// The HTTP status that is recorded for an allowed request.
const GOES_ON: u16 = 200;

/// What is prepared for a key: its part of the responses, and its series.
#[derive(Debug)]
pub(crate) struct PreparedKey {
    wire: EncodedKey,
    series: KeySeries,
}

impl PreparedKey {
    pub(crate) fn new(record: &Arc<KeyRecord>, snapshot: &Snapshot, metrics: &Metrics) -> Self {
        Self {
            wire: EncodedKey::of(record, &snapshot.policy),
            series: metrics.key_series(record, snapshot.generation),
        }
    }
}

impl HasEncodedKey for PreparedKey {
    fn encoded_key(&self) -> &EncodedKey {
        &self.wire
    }
}

pub(crate) fn observe_with(observer: Observer) -> CheckObserver<PreparedKey> {
    Box::new(move |checked: &CompletedCheck<'_, PreparedKey>| {
        let CompletedCheck {
            request,
            decision,
            policy,
            decision_id,
            now,
            duration,
        } = checked;
        let key = decision.key();
        let (rule, goes_on) = match decision {
            Decision::Allow(grant) => (grant.rule, true),
            Decision::Deny(refusal) => (refusal.rule, false),
        };
        let reason = decision.reason();
        let (places, hint) = request
            .map(|request| how_presented(request, reason, policy))
            .unwrap_or_default();
        let record = CheckRecord {
            decision: reason.kind(),
            reason,
            status: if goes_on {
                GOES_ON
            } else {
                reason.http_status()
            },
            key: key.map(|key| &*key.record),
            rule: rule.map(|rule| &*rule.name),
            secret: key.and_then(PresentedKey::secret_id),
            places: &places,
            hint: hint.as_deref(),
            method: request.map_or(b"", |request| request.method),
            host: request.map_or(b"", |request| request.host),
            path: request.map_or(b"", |request| request.path()),
            request_id: request.and_then(|request| request.headers.single("x-request-id")),
            source_ip: request.and_then(|request| policy.client_address.of(request)),
            decision_id,
            duration: *duration,
            now: *now,
        };
        let used = key.map(|key| (&key.prepared.series, key.secret_index()));
        observer.checked(&record, used);
    })
}

/// Where a request presented keys and what is odd about it, if that is why it was denied.
fn how_presented(
    request: &RequestAttributes<'_>,
    reason: Reason,
    policy: &Policy,
) -> (Vec<String>, Option<String>) {
    let credentials = &policy.credentials;
    if reason == Reason::AmbiguousKey {
        (credentials.filled(request), None)
    } else {
        (Vec::new(), credentials.hint(request, reason))
    }
}
