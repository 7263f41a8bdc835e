//! Records with very many of anything, as a source may answer within its 256 KiB: each member is
//! read in time by its size, for a lookup is read on a thread that serves. What would be compared
//! one with each other one takes many seconds here.

use super::*;
use crate::authz::key::tests::digest_of;
use crate::keys::source::SourceAnswer;

const MANY: usize = 28_000;

fn secret() -> String {
    format!("{{\"digest\":\"{}\"}}", digest("s"))
}

fn members(rest: &str) -> String {
    format!("{{\"id\":\"a\",\"secrets\":[{}],{rest}}}", secret())
}

fn list(count: usize, item: impl Fn(usize) -> String) -> String {
    let items: Vec<String> = (0..count).map(item).collect();
    items.join(",")
}

fn problem(json: &str) -> String {
    match answer(json, &digest_of("s")).unwrap() {
        SourceAnswer::Invalid(invalid) => invalid.problem.to_string(),
        SourceAnswer::Found(_) | SourceAnswer::NotFound => panic!("it is valid"),
    }
}

fn found(json: &str) -> Arc<KeyRecord> {
    match answer(json, &digest_of("s")).unwrap() {
        SourceAnswer::Found(record) => record,
        SourceAnswer::Invalid(invalid) => panic!("{invalid}"),
        SourceAnswer::NotFound => panic!("not found"),
    }
}

#[test]
fn each_of_very_many_scopes_is_kept_once_in_its_order() {
    let scopes = list(2 * MANY, |number| format!("\"s{}\"", number % MANY));
    let record = found(&members(&format!("\"scopes\":[{scopes}]")));
    let scopes = record.scopes.iter().map(Scope::as_str);
    assert!(scopes.eq((0..MANY).map(|number| format!("s{number}"))));
    assert_eq!(record.scopes.len(), MANY);
}

#[test]
fn a_digest_twice_is_found_among_very_many_secrets() {
    let secrets = |twice: &str| {
        let others = list(3000, |number| {
            format!("{{\"digest\":\"{}\"}}", digest(&number.to_string()))
        });
        format!(
            "{{\"id\":\"a\",\"secrets\":[{},{others}{twice}]}}",
            secret()
        )
    };
    assert_eq!(found(&secrets("")).secrets.len(), 3001);
    assert_eq!(
        problem(&secrets(&format!(",{}", secret()))),
        "key `a`: secrets[3001].digest: this key has the same digest twice; keep one"
    );
}

#[test]
fn very_many_members_are_read_once_each_and_repeated_ones_refused() {
    let names = |count: usize| list(count, |number| format!("\"m{number}\":1"));
    let record = found(&members(&format!("\"metadata\":{{{}}}", names(MANY))));
    assert_eq!(record.metadata.len(), MANY);
    let twice = format!("\"metadata\":{{{},{}}}", names(MANY / 2), names(MANY / 2));
    let problem = problem(&members(&twice));
    assert!(problem.starts_with("key `a`: metadata.m0: repeated member `m0`"));
}

#[test]
fn of_very_many_problems_the_first_hundred_are_told() {
    let unknown = list(MANY / 2, |number| format!("\"unknown{number}\":1"));
    let wrong = list(MANY / 2, |_| "\"a b\"".to_owned());
    let told = problem(&members(&format!("{unknown},\"scopes\":[{wrong}]")));
    assert_eq!(told.matches("unknown field").count(), 100);
    let long = list(200, |number| {
        format!("\"{}{number:03}\":1", "u".repeat(997))
    });
    let told = problem(&members(&long));
    assert_eq!(told.matches("an unknown field").count(), 100);
    let wrong = list(MANY, |_| "\"a b\"".to_owned());
    let told = problem(&members(&format!("\"scopes\":[{wrong}]")));
    assert_eq!(told.matches("a scope is one or more").count(), 100);
}
