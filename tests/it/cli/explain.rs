//! `explain` runs the pipeline that serves; its output must tell an operator what to look at.

use super::Workdir;
use crate::support::scene;

/// The shared scene, with additional rules for these tests.
pub(super) fn workdir() -> Workdir {
    let config = format!(
        "{}  - {{name: post, match: {{methods: [POST], hosts: [api.example.com]}}, allow: anyone}}\n",
        scene::CONFIG
    );
    Workdir::new(&config, scene::keys().text())
}

/// Explains with the key of that id, presented on standard input.
pub(super) fn explain(workdir: &Workdir, id: &str, arguments: &[&str]) -> super::Run {
    let all = [&["explain", "--key-file", "-"], arguments].concat();
    workdir.run_with(&all, &format!("{}\n", scene::secret(id)))
}

/// Explains, and compares the code, the last line, and words of the deciding step with the expected
/// ones.
fn expect(workdir: &Workdir, id: &str, arguments: &[&str], code: i32, last: &str, expected: &str) {
    let run = explain(workdir, id, arguments);
    let case = format!("{id} {arguments:?}: {run:?}");
    assert_eq!((run.code, &*run.stderr), (Some(code), ""), "{case}");
    assert!(run.stdout.contains(expected), "{expected}: {case}");
    assert!(
        run.stdout.lines().any(|line| line == last),
        "{last}: {case}"
    );
    assert!(!run.stdout.contains("secret-4b1d9c"), "{case}");
    // The deciding step is the last one printed, and the only one that failed.
    let failed: Vec<_> = run
        .stdout
        .lines()
        .filter(|line| line.starts_with("failed"))
        .collect();
    assert_eq!(failed.len(), usize::from(code == 4), "{case}");
    assert!(
        failed.iter().all(|line| line.contains(expected)),
        "{expected}: {case}"
    );
}

#[test]
fn each_way_of_presenting_a_key_is_explained_with_its_outcome() {
    let workdir = workdir();
    let get = |path| ["--method", "GET", "--path", path];
    for (id, arguments, code, last, expected) in [
        (
            "bare",
            &get("/v1")[..],
            0,
            "allow allowed (HTTP 200)",
            "is a secret of key bare",
        ),
        (
            "bare",
            &get("/public/a"),
            0,
            "allow public (HTTP 200)",
            "rule open matches and decides: anyone may pass",
        ),
        (
            "",
            &get("/v1"),
            4,
            "deny unknown_key (HTTP 401)",
            "no key has this secret",
        ),
        (
            "a,b",
            &get("/v1"),
            4,
            "deny ambiguous_key (HTTP 401)",
            "a comma in a header counting as two",
        ),
        (
            "a b",
            &get("/v1"),
            4,
            "deny malformed_key (HTTP 401)",
            "longer than 512 bytes or holds a space",
        ),
        (
            "revoked",
            &get("/v1"),
            4,
            "deny key_revoked (HTTP 401)",
            "the key was revoked at 2020-01-01T00:00:00Z",
        ),
        (
            "disabled",
            &get("/v1"),
            4,
            "deny key_disabled (HTTP 401)",
            "enabled: false",
        ),
        (
            "early",
            &get("/v1"),
            4,
            "deny key_not_yet_valid (HTTP 401)",
            "the key is not valid before 2099",
        ),
        (
            "early-secret",
            &get("/v1"),
            4,
            "deny key_not_yet_valid (HTTP 401)",
            "this secret is not valid before 2099",
        ),
        (
            "expired",
            &get("/v1"),
            4,
            "deny key_expired (HTTP 401)",
            "the key expired at 2020-01-01T00:00:00Z",
        ),
        (
            "expired-secret",
            &get("/v1"),
            4,
            "deny key_expired (HTTP 401)",
            "this secret expired at 2020",
        ),
    ] {
        expect(&workdir, id, arguments, code, last, expected);
    }
}

#[test]
fn each_outcome_of_a_valid_key_is_explained_with_its_reason() {
    let workdir = workdir();
    let get = |path| ["--method", "GET", "--path", path];
    for (id, arguments, code, last, expected) in [
        (
            "bare",
            &get("/v1/../a")[..],
            4,
            "deny malformed_path (HTTP 400)",
            "/v1/../a is not plain, and rule open would",
        ),
        (
            "bare",
            &get("/internal/a"),
            4,
            "deny route_denied (HTTP 403)",
            "rule internal has allow: nobody",
        ),
        (
            "bare",
            &["--method", "GET", "--path", "/", "--rule", "nope"],
            4,
            "deny route_denied (HTTP 403)",
            "the Envoy route names rule nope, which does not exist",
        ),
        (
            "elsewhere",
            &get("/v1"),
            4,
            "deny ip_not_allowed (HTTP 403)",
            "the client's address is not known",
        ),
        (
            "elsewhere",
            &[
                "--method",
                "GET",
                "--path",
                "/v1",
                "--source-ip",
                "192.0.2.1",
            ],
            4,
            "deny ip_not_allowed (HTTP 403)",
            "192.0.2.1; the key does not have it in its allow_ips [10.0.0.0/8, 2001:db8::/32]",
        ),
        (
            "other-host",
            &["--method", "GET", "--path", "/", "--host", "a.test"],
            4,
            "deny route_not_allowed (HTTP 403)",
            "host a.test is NOT in the key's allow_hosts [*.example.org]",
        ),
        (
            "other-path",
            &get("/v1"),
            4,
            "deny route_not_allowed (HTTP 403)",
            "path /v1 is NOT in the key's allow_paths [/v2/**]",
        ),
        (
            "other-method",
            &get("/v1"),
            4,
            "deny route_not_allowed (HTTP 403)",
            "method GET is NOT in the key's allow_methods [PUT]",
        ),
        (
            "bare",
            &get("/ops/a"),
            4,
            "deny client_not_allowed (HTTP 403)",
            "the key's client is bare, which is not one of the rule's clients [operators]",
        ),
        (
            "half-scoped",
            &get("/admin/a"),
            4,
            "deny insufficient_scope (HTTP 403)",
            "the key lacks [admin]: it has [audit]",
        ),
        (
            "full",
            &get("/admin/a"),
            0,
            "allow allowed (HTTP 200)",
            "the key has them all",
        ),
    ] {
        expect(&workdir, id, arguments, code, last, expected);
    }
}

#[test]
fn without_a_key_the_locations_are_named_and_skipped_rules_say_what_differed() {
    let run = workdir().run(&[
        "explain",
        "--method",
        "POST",
        "--path",
        "/v1",
        "--host",
        "api.example.com:1",
    ]);
    assert_eq!((run.code, &*run.stderr), (Some(4), ""));
    for expected in [
        "noted  rule         rule internal does not match: the path is /v1, and its paths are [/internal/**]",
        "noted  rule         rule post does not match: the host is api.example.com:1, and its hosts are \
         [api.example.com]; a rule with `allow: anyone` compares the host as sent, port included",
        "passed rule         no rule matches; the default decides, require-key: any valid key may pass",
        "failed credential   no secret is presented; looked at header x-api-key, header authorization with scheme \
         Bearer, query parameter api_key, cookie api_key",
        "deny missing_key (HTTP 401)",
    ] {
        assert!(
            run.stdout.lines().any(|line| line == expected),
            "{expected}: {}",
            run.stdout
        );
    }
}

#[test]
fn json_has_the_decision_and_its_steps() {
    let workdir = workdir();
    let arguments = [
        "--method",
        "GET",
        "--path",
        "/admin/a?q=1",
        "--output",
        "json",
    ];
    let allowed = explain(&workdir, "full", &arguments).json();
    for (member, value) in [
        ("decision", "allow"),
        ("reason", "allowed"),
        ("key_id", "full"),
        ("client", "acme"),
        ("plan", "gold"),
        ("rule", "admin"),
    ] {
        assert_eq!(allowed[member], value, "{member}");
    }
    assert_eq!(allowed["status"], 200);
    assert_eq!(allowed["places"], serde_json::json!(["x-api-key"]));
    assert_eq!(allowed["enforced"], true);
    assert_eq!(allowed["identity"]["x-org-id"], "42");
    assert_eq!(
        allowed["identity"]["x-keyward-scopes"],
        "plan:read admin audit"
    );
    let steps: Vec<_> = allowed["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| &step["step"])
        .collect();
    assert_eq!(
        steps,
        [
            "rule",
            "rule",
            "rule",
            "credential",
            "key",
            "validity",
            "route",
            "scopes"
        ]
    );

    let denied = explain(&workdir, "half-scoped", &arguments);
    assert_eq!(denied.code, Some(4));
    let denied = denied.json();
    assert_eq!(denied["reason"], "insufficient_scope");
    assert_eq!(denied["key_id"], "half-scoped");
    let last = denied["steps"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&last["step"], &last["outcome"]),
        (&"scopes".into(), &"failed".into())
    );
    assert!(last["seen"].as_str().unwrap().contains("[admin]"));
}

#[test]
fn observe_mode_says_what_enforce_mode_would_do_and_allows() {
    let workdir = Workdir::new("mode: observe\n", "keys: []\n");
    let arguments = ["explain", "--method", "GET", "--path", "/"];
    let run = workdir.run(&arguments);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(
        run.stdout
            .contains("deny missing_key (HTTP 401)\nmode is observe"),
        "{run:?}"
    );
    let json = workdir
        .run(&[&arguments[..], &["--output", "json"]].concat())
        .json();
    assert_eq!(
        (&json["decision"], &json["enforced"]),
        (&"deny".into(), &false.into())
    );
}
