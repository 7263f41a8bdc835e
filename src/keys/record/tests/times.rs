//! The times of a key and of its secrets together.
//!
//! Each may be sound alone while no moment is left at which the secret is valid.

use super::{check, digest};

#[test]
fn a_secret_is_refused_where_its_time_and_the_keys_have_no_moment_in_common() {
    let never = "secrets[0]: it is never valid: ";
    for (secret, key, want) in [
        (
            "expires_at: 2026-01-01T00:00:00Z",
            "not_before: 2026-01-01T00:00:00Z",
            Some(never),
        ),
        (
            "not_before: 2026-01-02T00:00:00Z",
            "expires_at: 2026-01-01T00:00:00Z",
            Some(never),
        ),
        (
            "not_before: 2026-01-02T00:00:00Z",
            "expires_at: 2026-01-02T00:00:01Z",
            None,
        ),
        (
            "expires_at: 2026-01-02T00:00:00Z",
            "expires_at: 2026-01-01T00:00:00Z",
            None,
        ),
        (
            "not_before: 2026-01-02T00:00:00Z",
            "not_before: 2026-01-01T00:00:00Z",
            None,
        ),
        // One problem, though nothing overlaps with a time that does not exist.
        (
            "not_before: 2026-01-02T00:00:00Z, expires_at: 2026-01-01T00:00:00Z",
            "expires_at: 2025-01-01T00:00:00Z",
            Some("secrets[0].expires_at: it expires before it begins"),
        ),
        (
            "not_before: 2026-01-02T00:00:00Z",
            "expires_at: soon",
            Some("expires_at: not a time"),
        ),
        (
            "expires_at: soon",
            "not_before: 2026-01-02T00:00:00Z",
            Some("secrets[0].expires_at: not a time"),
        ),
    ] {
        let digest = digest("s");
        let checked = check(&format!(
            "id: a\nsecrets: [{{digest: {digest}, {secret}}}]\n{key}\n"
        ));
        match want {
            None => assert!(checked.is_ok(), "{secret}, {key}"),
            Some(want) => {
                let problems = checked.unwrap_err();
                assert!(problems.contains(want), "{problems}");
                assert_eq!(problems.lines().count(), 1, "{problems}");
            }
        }
    }
}
