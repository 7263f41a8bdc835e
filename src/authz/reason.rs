//! The reasons of decisions: one closed list, and the one table of what follows from each.
//!
//! Metric labels, log values, problem codes, HTTP statuses and the sentence for the caller all come
//! from here. Matches on `Reason` are exhaustive, so that the compiler finds every place that a new
//! reason concerns.

use std::fmt;

/// What a decision amounts to: the `decision` of metrics, log and metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DecisionKind {
    /// The request is allowed.
    Allow,
    /// The request is refused.
    Deny,
    /// keyward could not decide; the request is refused.
    Error,
}

impl DecisionKind {
    /// Every kind, in declaration order.
    pub const ALL: [Self; 3] = [Self::Allow, Self::Deny, Self::Error];

    /// The value of the `decision` label, log member and metadata field.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for DecisionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A match that numbers its arms: takes the value, the arms so far, their number, and the variants
/// left.
macro_rules! index_of {
    ($reason:expr, [$($arms:tt)*], $index:expr,) => {
        match $reason { $($arms)* }
    };
    ($reason:expr, [$($arms:tt)*], $index:expr, $name:ident $($rest:ident)*) => {
        index_of!($reason, [$($arms)* Reason::$name => $index,], $index + 1, $($rest)*)
    };
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $kind:ident, $status:literal, $sentence:literal;)*) => {
        /// The reason of a decision.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// Every reason, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The reason code: `code` of a problem, `reason` in labels, logs and metadata.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// Whether the reason allows, denies or says that keyward could not decide.
            pub const fn kind(self) -> DecisionKind {
                match self { $(Self::$name => DecisionKind::$kind,)* }
            }

            /// The HTTP status that the caller gets; 200 if the request is allowed.
            pub const fn http_status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// A sentence for the caller, without anything that only the operator should know.
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$name => $sentence,)* }
            }

            /// The reason's index in `ALL`, for tables by reason.
            pub const fn index(self) -> usize {
                index_of!(self, [], 0, $($name)*)
            }
        }
    };
}

reasons! {
    /// A key passed every step.
    Allowed = "allowed", Allow, 200, "The request is allowed.";
    /// The rule asks for no key.
    Public = "public", Allow, 200, "No API key is needed.";
    /// Envoy sent no HTTP attributes, or bytes that are no check.
    BadRequest = "bad_request", Deny, 400, "The request cannot be read.";
    /// No configured place holds a credential.
    MissingKey = "missing_key", Deny, 401, "An API key is required.";
    /// A place is filled twice, or two places differ.
    AmbiguousKey = "ambiguous_key", Deny, 401, "More than one API key was presented.";
    /// Over 512 bytes, or not visible ASCII.
    MalformedKey = "malformed_key", Deny, 401, "The API key is malformed.";
    /// No key has that secret.
    UnknownKey = "unknown_key", Deny, 401, "The API key is not known.";
    /// Revoked by its operator, permanently.
    KeyRevoked = "key_revoked", Deny, 401, "The API key has been revoked.";
    /// Disabled by its operator, for now.
    KeyDisabled = "key_disabled", Deny, 401, "The API key is disabled.";
    /// Before `not_before` of the key or the secret.
    KeyNotYetValid = "key_not_yet_valid", Deny, 401, "The API key is not valid yet.";
    /// At or after `expires_at` of the key or the secret.
    KeyExpired = "key_expired", Deny, 401, "The API key has expired.";
    /// A remote source holds a record that is not one.
    InvalidRecord = "invalid_record", Deny, 500, "The API key's record is not valid.";
    /// `require_https`, and the request came over plain HTTP.
    InsecureTransport = "insecure_transport", Deny, 403, "The API key may be sent over HTTPS alone.";
    /// A path that has to be looked at is not plain.
    MalformedPath = "malformed_path", Deny, 400, "The request path is malformed.";
    /// `default: deny`, `allow: nobody`, or a rule name that does not exist.
    RouteDenied = "route_denied", Deny, 403, "Nobody may use this route.";
    /// The client's address is outside `allow_ips`, or not known.
    IpNotAllowed = "ip_not_allowed", Deny, 403, "The API key may not be used from this address.";
    /// Host, path or method are not the key's.
    RouteNotAllowed = "route_not_allowed", Deny, 403, "The API key may not be used for this request.";
    /// The rule wants another client.
    ClientNotAllowed = "client_not_allowed", Deny, 403, "This client may not make this request.";
    /// The key lacks a scope that the rule wants.
    InsufficientScope = "insufficient_scope", Deny, 403, "The API key lacks a scope that this request needs.";
    /// The source failed for a key in use, or cannot be connected to, and no cached entry may be
    /// used.
    SourceUnavailable = "source_unavailable", Error, 503, "API keys cannot be checked at the moment.";
    /// The shared limits could not be charged.
    LimitsUnavailable = "limits_unavailable", Error, 503, "Limits cannot be checked at the moment.";
    /// Too many lookups are in flight, or one failed in a way that any caller can trigger.
    Overloaded = "overloaded", Error, 503, "Too many API keys are being checked at the moment.";
    /// A bug in keyward: the check panicked.
    InternalError = "internal_error", Error, 500, "The request could not be checked.";
}

impl Reason {
    /// Whether a key was presented and is not valid: `error="invalid_token"` of RFC 6750 section
    /// 3.1.
    pub const fn is_invalid_token(self) -> bool {
        self.http_status() == 401 && !matches!(self, Self::MissingKey)
    }

    /// Whether the caller can fix it by knowing where a key belongs.
    pub const fn concerns_place(self) -> bool {
        matches!(self, Self::MissingKey | Self::MalformedKey)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_these_statuses_are_ever_sent() {
        for reason in Reason::ALL {
            match reason.kind() {
                DecisionKind::Allow => assert_eq!(reason.http_status(), 200, "{reason}"),
                DecisionKind::Deny => assert!(
                    matches!(reason.http_status(), 400 | 401 | 403 | 429 | 500),
                    "{reason}"
                ),
                // A condition that passes is worth a retry (503); a bug in keyward is not.
                DecisionKind::Error => {
                    let status = if *reason == Reason::InternalError {
                        500
                    } else {
                        503
                    };
                    assert_eq!(reason.http_status(), status, "{reason}");
                }
            }
        }
    }

    #[test]
    fn codes_are_unique_label_values() {
        for (index, reason) in Reason::ALL.iter().enumerate() {
            assert!(
                reason
                    .as_str()
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b == b'_'),
                "{reason}"
            );
            assert_eq!(
                Reason::ALL
                    .iter()
                    .filter(|other| other.as_str() == reason.as_str())
                    .count(),
                1
            );
            assert_eq!(reason.index(), index);
        }
    }
}
