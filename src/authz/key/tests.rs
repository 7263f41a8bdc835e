//! What follows from a key's facts at a moment, and a key to test with.

use super::*;
use crate::authz::digest::DigestKind;

/// A key with one secret that never expires.
pub(crate) fn record(id: &str) -> KeyRecord {
    KeyRecord {
        id: id.parse().unwrap(),
        client: None,
        secrets: [Secret {
            digest: digest_of(id),
            id: None,
            validity: Validity::default(),
        }]
        .into(),
        enabled: true,
        revoked_at: None,
        validity: Validity::default(),
        plan: None,
        scopes: Box::default(),
        restrictions: None,
        metadata: Box::default(),
    }
}

/// The digest of a secret that equals the id of its key.
pub(crate) fn digest_of(secret: &str) -> KeyDigest {
    KeyDigest::new(DigestKind::Blake3, blake3::hash(secret.as_bytes()).into())
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn moment(second: i64) -> Moment {
    at(second).into()
}

fn span(not_before: Option<i64>, expires_at: Option<i64>) -> Validity {
    Validity {
        not_before: not_before.map(moment),
        expires_at: expires_at.map(moment),
    }
}

#[test]
fn validity_begins_at_not_before_and_ends_at_expires_at() {
    let mut key = record("a");
    key.validity = span(Some(10), Some(20));
    for (now, reason) in [
        (9, Some(Reason::KeyNotYetValid)),
        (10, None),
        (19, None),
        (20, Some(Reason::KeyExpired)),
        (21, Some(Reason::KeyExpired)),
    ] {
        assert_eq!(
            key.check(key.secrets.first(), at(now))
                .err()
                .map(|e| e.reason),
            reason,
            "at {now}"
        );
    }
}

#[test]
fn the_narrower_of_key_and_secret_decides() {
    let mut key = record("a");
    key.validity = span(Some(10), Some(40));
    key.secrets[0].validity = span(Some(20), Some(30));
    let judged = |now| {
        key.check(key.secrets.first(), at(now))
            .map_err(|e| (e.reason, e.moment))
    };
    assert_eq!(judged(15), Err((Reason::KeyNotYetValid, Some(at(20)))));
    assert_eq!(judged(25), Ok(()));
    assert_eq!(judged(35), Err((Reason::KeyExpired, Some(at(30)))));
}

#[test]
fn revoked_comes_before_disabled_before_validity() {
    let mut key = record("a");
    key.validity = span(None, Some(5));
    key.enabled = false;
    key.revoked_at = Some(moment(10));
    let judged = |key: &KeyRecord, now| key.check(key.secrets.first(), at(now)).unwrap_err().reason;
    assert_eq!(judged(&key, 9), Reason::KeyDisabled);
    assert_eq!(judged(&key, 10), Reason::KeyRevoked);
    key.enabled = true;
    assert_eq!(judged(&key, 9), Reason::KeyExpired);
}

#[test]
fn a_record_does_not_vouch_for_a_digest_that_it_does_not_hold() {
    let judged = record("a").check(None, at(0));
    assert_eq!(judged.unwrap_err().reason, Reason::UnknownKey);
}

#[test]
fn the_last_moment_of_a_key_is_that_of_its_longest_secret() {
    let mut key = record("a");
    assert_eq!(key.expires_at(), None);
    let secret = |end| Secret {
        id: None,
        digest: digest_of("a"),
        validity: span(None, end),
    };
    key.secrets = [secret(Some(10)), secret(Some(20))].into();
    assert_eq!(key.expires_at(), Some(at(20)));
    key.validity = span(None, Some(15));
    assert_eq!(key.expires_at(), Some(at(15)));
    key.secrets = [secret(Some(10)), secret(None)].into();
    assert_eq!(key.expires_at(), Some(at(15)));
    key.validity = Validity::default();
    assert_eq!(key.expires_at(), None);
}

#[test]
fn an_unknown_address_is_in_no_network() {
    let nets = Restrictions {
        ips: Some(["10.0.0.0/8".parse().unwrap()].into()),
        ..Restrictions::default()
    };
    assert!(nets.allow_ip(Some("10.1.2.3".parse().unwrap())));
    assert!(!nets.allow_ip(Some("11.1.2.3".parse().unwrap())));
    assert!(!nets.allow_ip(None));
    assert!(Restrictions::default().allow_ip(None));
}

#[test]
fn names_keep_to_their_characters() {
    for (id, good) in [
        ("a", true),
        ("A.b_c-9", true),
        ("", false),
        ("_a", false),
        ("a b", false),
        ("a:b", false),
    ] {
        assert_eq!(id.parse::<KeyId>().is_ok(), good, "{id}");
    }
    assert!("k".repeat(64).parse::<KeyId>().is_ok());
    assert!("k".repeat(65).parse::<KeyId>().is_err());
    assert!("acme:team@example.com/x".parse::<ClientName>().is_ok());
    assert_eq!(
        "".parse::<KeyId>().unwrap_err().to_string(),
        "a key id has 1 to 64 characters of `A-Za-z0-9._-` and does not begin with `_`"
    );
}
