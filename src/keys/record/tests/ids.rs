//! The names of a key's secrets.

use super::*;

#[test]
fn secrets_may_have_ids_of_their_own() {
    let read = |first: &str, second: &str| {
        let (one, two) = (digest("s"), digest("t"));
        let json = format!(
            r#"{{"id":"a","secrets":[{{"digest":"{one}","id":"{first}"}},{{"digest":"{two}","id":"{second}"}}]}}"#
        );
        from_json(&json).map_err(|invalid| invalid.problem.to_string())
    };
    let longest = "x".repeat(32);
    let record = read("_2026-11", &longest).unwrap();
    let ids: Vec<_> = record
        .secrets
        .iter()
        .map(|secret| secret.id.as_ref().unwrap().as_str().to_owned())
        .collect();
    assert_eq!(ids, ["_2026-11", &longest]);
    for (first, second, told) in [
        (
            "a",
            "a",
            "key `a`: secrets[1].id: another secret of this key has this id; ",
        ),
        (
            "",
            "b",
            "key `a`: secrets[0].id: a secret's id has 1 to 32 characters of `A-Za-z0-9._-`",
        ),
        (
            "a b",
            "b",
            "key `a`: secrets[0].id: a secret's id has 1 to 32 characters",
        ),
        (
            "a",
            &"x".repeat(33),
            "key `a`: secrets[1].id: a secret's id has 1 to 32 characters",
        ),
    ] {
        let problem = read(first, second).unwrap_err();
        assert!(problem.starts_with(told), "{problem}");
    }
}
