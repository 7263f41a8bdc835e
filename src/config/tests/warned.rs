//! What a configuration is warned of, and what it is not.

use super::*;

/// Text, and lines without file and position.
const CASES: &[(&str, &[&str])] = &[
    ("{}", &[]),
    (
        "server: {grpc: {address: \"0.0.0.0:9191\"}}",
        &[
            "server.grpc.address: gRPC is open to other machines without TLS; give `server.grpc.tls`, or a loopback address",
        ],
    ),
    (
        "server: {grpc: {address: \"[::]:9191\", tls: {cert_file: a, key_file: b}}}",
        &[
            "server.grpc.tls: gRPC is open to other machines, and no client must show a certificate; name the authorities of Envoy's certificate in `client_ca_file`, or give a loopback address",
        ],
    ),
    (
        "server: {grpc: {address: \"0.0.0.0:9191\", tls: {cert_file: a, key_file: b, client_ca_file: c}}}",
        &[],
    ),
    ("server: {grpc: {address: \"unix:/run/keyward.sock\"}}", &[]),
    (
        "mode: observe",
        &[
            "mode: every request is allowed, whatever the decision; write `enforce` to have refusals take effect",
        ],
    ),
    (
        "default: allow-anyone",
        &[
            "default: a request that no rule matches needs no key; write `require-key`, and a rule with `allow: anyone` for what is to be public",
        ],
    ),
    ("cache: {stale_if_error: 1h}", &[]),
    (
        "{cache: {stale_if_error: 1h}, source: {http: {url: \"https://a/{digest}\"}}}",
        &[
            "cache.stale_if_error: while the source is failing, keys that were known pass for up to 1h more, those revoked meanwhile too; write 0s to have them refused",
        ],
    ),
    (
        "source: {http: {url: \"http://a/{digest}\", events_url: \"http://a/events\"}}",
        &[
            "source.http.url: records cross the network in the clear: an attacker on the network path can read them and make keys valid; write the URL with https",
            "source.http.events_url: records cross the network in the clear: an attacker on the network path can read them and make keys valid; write the URL with https",
        ],
    ),
    (
        "source: {http: {url: \"http://a/{digest}\", bearer_token_file: token}}",
        &[
            "source.http.url: records and the bearer token cross the network in the clear: an attacker on the network path can read them and make keys valid; write the URL with https",
        ],
    ),
    (
        "source: {http: {url: \"http://localhost:8080/{digest}\", bearer_token_file: token}}",
        &[],
    ),
    (
        "source: {redis: {url: \"redis://a\", password_file: password}}",
        &[
            "source.redis.url: the password crosses the network in the clear: an attacker on the network path can read it and make keys valid; write it with rediss://",
        ],
    ),
    (
        "source: {redis: {sentinel: {master: m, nodes: [\"redis://[::1]\", \"redis://a\"]}, password_file: password}}",
        &[
            "source.redis.sentinel: the password crosses the network in the clear: an attacker on the network path can read it and make keys valid; write it with rediss://",
        ],
    ),
    (
        "source: {redis: {url: \"rediss://a\", password_file: password}}",
        &[],
    ),
    (
        "source: {redis: {url: \"redis://127.0.0.1\", password_file: password}}",
        &[],
    ),
    (
        "rules: [{name: a, match: {paths: [\"/**\"]}, require: {}}, {name: b, match: {paths: [/b]}, allow: nobody}, {name: c, allow: nobody}]",
        &[
            "rules[1]: no request reaches this rule: rules[0] matches all that it does, and the first wins; move it up, unless Envoy routes name it in `context_extensions`",
        ],
    ),
];

/// The warnings without file and position.
fn warnings(config: &Config) -> Vec<String> {
    let lines = config.warnings.iter().map(ToString::to_string);
    lines
        .map(|line| line.split_once(": ").unwrap().1.to_owned())
        .collect()
}

#[test]
fn what_opens_more_than_it_seems_to_is_warned_of_and_nothing_else() {
    for (text, want) in CASES {
        assert_eq!(&warnings(&load(text).unwrap()), want, "{text}");
    }
    let config = load("realm: a\nmode: observe\n").unwrap();
    let first = config.warnings[0].to_string();
    assert!(first.starts_with("etc/keyward.yaml:2:7: mode: "), "{first}");
}

#[test]
fn what_an_editor_adds_unseen_to_a_secret_is_warned_of_with_the_name_of_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keyward.yaml");
    let env = |name: &str| (name == "NAME").then(|| "secret".to_owned());
    let long = "p".repeat(32);
    for text in [
        "digest: {pepper_file: \"${NAME}\"}\n",
        "source: {http: {url: \"https://a/{digest}\", bearer_token_file: \"${NAME}\"}}\n",
        "source: {redis: {url: \"rediss://a\", password_file: \"${NAME}\"}}\n",
    ] {
        std::fs::write(&file, text).unwrap();
        for (content, want) in [
            (format!("{long}\n"), None),
            (
                format!("\u{feff}{long}\n"),
                Some("begins with a byte order mark"),
            ),
            (format!("{long}\n\n"), Some("ends in a second line break")),
            (format!("{long} \n"), Some("ends in white space")),
        ] {
            std::fs::write(directory.path().join("secret"), content).unwrap();
            let config = Config::load(&file, &env).unwrap();
            let lines = warnings(&config);
            match want {
                None => assert_eq!(lines, [""; 0], "{text}"),
                Some(want) => {
                    let want = format!("_file: ${{NAME}} {want}, which is a part of the secret; ");
                    assert!(lines.len() == 1 && lines[0].contains(&want), "{lines:?}");
                }
            }
        }
    }
}

#[test]
fn where_keys_come_from_is_told_without_what_came_from_the_environment() {
    let env = |name: &str| (name == "SECRET").then(|| "hunter2".to_owned());
    for (text, want) in [
        ("{}", "etc/keys.yaml"),
        (
            "source: {file: {path: \"/a/${SECRET}.yaml\"}}",
            "/a/${SECRET}.yaml",
        ),
        (
            "source: {http: {url: \"https://a/${SECRET}/{digest}?token=${SECRET}\"}}",
            "https://a/${SECRET}/{digest}",
        ),
        (
            "source: {http: {url: \"https://a/{digest}?token=hunter2\"}}",
            "https://a/{digest}",
        ),
        (
            "source: {redis: {cluster: [\"redis://${SECRET}:1\", \"redis://b:2\"]}}",
            "redis://${SECRET}:1, redis://b:2",
        ),
        (
            "source: {redis: {sentinel: {master: m, nodes: [\"redis://a:1\"]}}}",
            "redis://a:1",
        ),
    ] {
        let config = Config::parse(Path::new("etc/keyward.yaml"), text, &env).unwrap();
        assert_eq!(config.source_place(), want);
        let debug = format!("{:?} {config:?}", config.source);
        let is_hidden = !debug.contains("hunter2") || !text.contains("${SECRET}");
        assert!(is_hidden || text.contains("cluster"), "{debug}");
    }
}

#[test]
fn a_keys_file_or_socket_that_is_none_is_told_as_it_was_written() {
    let env = |name: &str| (name == "SECRET").then(|| "nowhere/hunter2".to_owned());
    let text =
        "{source: {file: {path: \"${SECRET}\"}}, server: {grpc: {address: \"unix:${SECRET}\"}}}";
    let config = Config::parse(Path::new("etc/keyward.yaml"), text, &env).unwrap();
    assert_eq!(config.server.grpc.address.to_string(), "unix:${SECRET}");
    let Err(error) = crate::keys::file::load(config.source.path().unwrap(), &config.policy) else {
        panic!("there is such a file");
    };
    assert_eq!(
        error.to_string(),
        "${SECRET}: cannot be read: No such file or directory (os error 2)"
    );
}

#[test]
fn a_file_whose_name_came_from_the_environment_is_told_as_it_was_written() {
    let env = |name: &str| (name == "TOKEN").then(|| "hunter2".to_owned());
    let text = "digest: {pepper_file: \"${TOKEN}\"}";
    let error = Config::parse(Path::new("etc/keyward.yaml"), text, &env).unwrap_err();
    assert_eq!(
        error.to_string(),
        "etc/keyward.yaml:1:23: digest.pepper_file: cannot read ${TOKEN}: No such file or directory (os error 2)"
    );
}
