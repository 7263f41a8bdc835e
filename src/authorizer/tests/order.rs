//! The order of a decision, which is the table in docs/decisions.md: of two steps that fail at once
//! the earlier one answers.

use super::naive::{NaiveAccess, NaiveRequest, NaiveRule, World, key, request, texts, world};
use super::*;

/// A configuration, a key and a request, and what makes one step of them fail.
type Fault = fn(&mut World, &mut NaiveRequest);

fn rule(world: &mut World) -> &mut NaiveRule {
    &mut world.rules[0]
}

fn present(request: &mut NaiveRequest, value: &str) {
    request.lines[0].1 = value.to_owned();
}

fn requirement(world: &mut World) -> (&mut Vec<String>, &mut Option<Vec<String>>) {
    match &mut rule(world).access {
        NaiveAccess::Require { scopes, clients } => (scopes, clients),
        NaiveAccess::Anyone | NaiveAccess::Nobody => panic!("the rule requires nothing"),
    }
}

/// Each step of the table and one fault that makes it fail and leaves the later steps as they are.
const STEPS: &[(&str, Fault)] = &[
    ("missing_key", |_, request| request.lines.clear()),
    ("ambiguous_key", |_, request| {
        request
            .lines
            .push(("X-API-Key".to_owned(), "KA".to_owned()));
    }),
    ("malformed_key", |_, request| {
        present(request, &"K".repeat(513));
    }),
    ("unknown_key", |_, request| present(request, "KX")),
    ("key_revoked", |world, _| world.keys[0].revoked = Some(0)),
    ("key_disabled", |world, _| world.keys[0].enabled = false),
    ("key_not_yet_valid", |world, _| world.keys[0].from = Some(1)),
    ("key_expired", |world, _| {
        world.keys[0].secrets[0].until = Some(0);
    }),
    ("insecure_transport", |world, _| world.https = true),
    ("malformed_path", |world, request| {
        request.target = b"/a/../b".to_vec();
        let paths = &mut world.keys[0].paths;
        *paths = paths.take().or_else(|| Some(texts(&["/**"])));
    }),
    ("route_denied", |_, request| {
        request.rule = Some("no such rule".to_owned());
    }),
    ("ip_not_allowed", |world, _| {
        world.keys[0].ips = Some(texts(&["10.0.0.0/8"]));
    }),
    ("route_not_allowed", |world, _| {
        world.keys[0].hosts = Some(texts(&["other"]));
    }),
    ("client_not_allowed", |world, _| {
        *requirement(world).1 = Some(texts(&["other"]));
    }),
    ("insufficient_scope", |world, _| {
        requirement(world).0.push("lacking".to_owned());
    }),
];

/// A request that passes a rule with a requirement.
fn passing() -> (World, NaiveRequest) {
    let mut world = world(vec![key("k1", "KA")]);
    world.rules = vec![NaiveRule {
        name: "r".to_owned(),
        hosts: None,
        paths: None,
        methods: None,
        access: NaiveAccess::Require {
            scopes: vec![],
            clients: None,
        },
    }];
    (world, request(&[("x-api-key", "KA")]))
}

#[test]
fn of_any_two_steps_that_fail_at_once_the_earlier_answers() {
    let (world, request) = passing();
    assert_eq!(outcome(&world, &request).reason, "allowed");
    for (number, (earlier, fault)) in STEPS.iter().enumerate() {
        let (mut world, mut request) = passing();
        fault(&mut world, &mut request);
        assert_eq!(outcome(&world, &request).reason, *earlier, "alone");
        for (later, other) in STEPS.iter().skip(number + 1) {
            let (mut world, mut request) = passing();
            // The later fault first: the earlier one may take away what it stands on.
            other(&mut world, &mut request);
            fault(&mut world, &mut request);
            assert_eq!(outcome(&world, &request).reason, *earlier, "with {later}");
        }
    }
}

#[test]
fn every_fault_at_once_is_answered_by_the_first_and_each_repair_by_the_next() {
    for (first, (reason, _)) in STEPS.iter().enumerate() {
        let (mut world, mut request) = passing();
        for (_, fault) in STEPS.iter().skip(first).rev() {
            fault(&mut world, &mut request);
        }
        assert_eq!(outcome(&world, &request).reason, *reason);
    }
}

#[test]
fn an_open_rule_answers_before_every_step() {
    for (step, fault) in STEPS {
        let (mut world, mut request) = passing();
        fault(&mut world, &mut request);
        rule(&mut world).access = NaiveAccess::Anyone;
        // A name that does not exist is no open rule.
        let expected = if *step == "route_denied" {
            "route_denied"
        } else {
            "public"
        };
        assert_eq!(outcome(&world, &request).reason, expected, "{step}");
    }
}

#[test]
fn an_open_default_answers_before_every_step() {
    for (step, fault) in STEPS {
        let (mut world, mut request) = passing();
        fault(&mut world, &mut request);
        world.rules.clear();
        world.default = "allow-anyone";
        let expected = if *step == "route_denied" {
            "route_denied"
        } else {
            "public"
        };
        assert_eq!(outcome(&world, &request).reason, expected, "{step}");
    }
}

#[test]
fn a_closed_route_answers_a_caller_without_a_valid_key_with_its_401() {
    let closures: [(&str, Fault); 3] = [
        ("allow: nobody", |world, _| {
            rule(world).access = NaiveAccess::Nobody;
        }),
        ("default: deny", |world, _| {
            world.rules.clear();
            world.default = "deny";
        }),
        ("no such name", |_, request| {
            request.rule = Some("r9".to_owned());
        }),
    ];
    for (name, close) in closures {
        let (mut world, mut request) = passing();
        close(&mut world, &mut request);
        assert_eq!(outcome(&world, &request).reason, "route_denied", "{name}");
        for (step, fault) in STEPS.iter().take(9) {
            let (mut world, mut request) = passing();
            fault(&mut world, &mut request);
            close(&mut world, &mut request);
            assert_eq!(outcome(&world, &request).reason, *step, "{name}");
        }
    }
}

#[test]
fn an_odd_path_is_refused_at_the_first_rule_with_paths_that_is_reached_and_only_there() {
    let odd = |world: &World, target: &[u8], rule: Option<&str>| {
        let request = NaiveRequest {
            target: target.to_vec(),
            rule: rule.map(str::to_owned),
            ..request(&[("x-api-key", "KA")])
        };
        outcome(world, &request).reason
    };
    let (mut world, _) = passing();
    assert_eq!(
        odd(&world, b"/a/../b", None),
        "allowed",
        "nothing looks at paths"
    );
    rule(&mut world).paths = Some(texts(&["/b"]));
    assert_eq!(
        odd(&world, b"/a/../b", None),
        "malformed_path",
        "a rule with paths is reached"
    );
    assert_eq!(
        odd(&world, b"/a/../b", Some("r")),
        "allowed",
        "the rule is named"
    );
    rule(&mut world).methods = Some(texts(&["POST"]));
    assert_eq!(
        odd(&world, b"/a/../b", None),
        "allowed",
        "the rule's methods do not match"
    );
    rule(&mut world).methods = None;
    rule(&mut world).hosts = Some(texts(&["other"]));
    assert_eq!(
        odd(&world, b"/a/../b", None),
        "allowed",
        "the rule's hosts do not match"
    );
    world.keys[0].paths = Some(texts(&["/**"]));
    assert_eq!(
        odd(&world, b"/a/../b", None),
        "malformed_path",
        "the key has paths"
    );
    assert_eq!(odd(&world, b"/a/b", None), "allowed");
    assert_eq!(
        odd(&world, b"", None),
        "route_not_allowed",
        "an empty path is plain and matches nothing"
    );
    assert_eq!(
        odd(&world, b"*", None),
        "route_not_allowed",
        "so is an asterisk"
    );
    rule(&mut world).hosts = None;
    rule(&mut world).access = NaiveAccess::Anyone;
    assert_eq!(
        odd(&world, b"/a/../b", None),
        "malformed_path",
        "an open rule with paths opens nothing odd"
    );
}

#[test]
fn a_request_without_http_attributes_is_denied_as_bad_and_goes_on_under_observe_mode() {
    let (mut world, _) = passing();
    for observe in [false, true] {
        world.observe = observe;
        let snapshot = world.snapshot(1);
        let decision = Authorizer::<u64>::decide_without_request(&snapshot);
        let decided = outcome_of(&decision, &snapshot);
        assert_eq!(
            (decided.reason, decided.kind, decided.allowed),
            ("bad_request", "deny", observe)
        );
        assert!(decided.identity.is_empty());
    }
}
