//! Sources that cannot be intended: every command that loads them refuses them with exit code 3,
//! with the position, and without repeating a password.

use crate::cli::Workdir;

/// What is written under `source:`, and words that the error must contain.
const REFUSED: &[(&str, &[&str])] = &[
    (
        "{file: {path: keys.yaml}, redis: {url: \"redis://h\"}}",
        &["source", "exactly one"],
    ),
    (
        "{http: {url: \"http://h/{digest}\"}, redis: {url: \"redis://h\"}}",
        &["source", "exactly one"],
    ),
    (
        "{http: {url: \"http://h/{digest}\", tiemout: 1s}}",
        &["source.http", "tiemout", "timeout"],
    ),
    (
        "{redis: {url: \"redis://h\", prefx: a}}",
        &["source.redis", "prefx", "prefix"],
    ),
    (
        "{http: {url: \"http://h/keys\"}}",
        &["source.http.url", "{digest}"],
    ),
    ("{http: {url: \"ftp://h/{digest}\"}}", &["source.http.url"]),
    (
        "{http: {url: \"http://u:canary@h/{digest}\"}}",
        &["source.http.url"],
    ),
    (
        "{http: {url: \"http://h/{digest}\", events_url: \"http://u:canary@h/\"}}",
        &["source.http.events_url"],
    ),
    (
        "{http: {url: \"http://h/{digest}\", events_url: \"nowhere\"}}",
        &["source.http.events_url"],
    ),
    (
        "{http: {url: \"http://h/{digest}\", timeout: 0s}}",
        &["source.http.timeout"],
    ),
    (
        "{http: {url: \"http://h/{digest}\", max_in_flight: 0}}",
        &["source.http.max_in_flight"],
    ),
    (
        "{http: {url: \"http://h/{digest}\", tls: {ca_file: ca.pem}}}",
        &["source.http.tls", "https"],
    ),
    (
        "{http: {url: \"https://h/{digest}\", tls: {cert_file: c.pem}}}",
        &["source.http.tls", "key_file"],
    ),
    (
        "{http: {url: \"https://h/{digest}\", tls: {key_file: k.pem}}}",
        &["source.http.tls", "cert_file"],
    ),
    (
        "{redis: {}}",
        &["source.redis", "url", "cluster", "sentinel"],
    ),
    (
        "{redis: {url: \"redis://h\", cluster: [\"redis://h\"]}}",
        &["source.redis", "cluster"],
    ),
    (
        "{redis: {url: \"redis://h\", sentinel: {master: m, nodes: [\"redis://h\"]}}}",
        &["source.redis", "sentinel"],
    ),
    ("{redis: {cluster: []}}", &["source.redis.cluster"]),
    (
        "{redis: {sentinel: {master: m, nodes: []}}}",
        &["source.redis.sentinel.nodes"],
    ),
    (
        "{redis: {url: \"redis://:canary@h\"}}",
        &["source.redis.url", "password_file"],
    ),
    (
        "{redis: {url: \"redis://canary:canary@h\"}}",
        &["source.redis.url"],
    ),
    (
        "{redis: {cluster: [\"redis://h\", \"redis://:canary@h\"]}}",
        &["source.redis.cluster[1]"],
    ),
    (
        "{redis: {sentinel: {master: m, nodes: [\"redis://:canary@h\"]}}}",
        &["source.redis.sentinel.nodes[0]"],
    ),
    ("{redis: {url: \"http://h\"}}", &["source.redis.url"]),
    (
        "{redis: {url: \"redis://h\", timeout: 0s}}",
        &["source.redis.timeout"],
    ),
    (
        "{redis: {url: \"redis://h\", tls: {ca_file: ca.pem}}}",
        &["source.redis.tls", "rediss"],
    ),
    (
        "{redis: {url: \"rediss://h\", tls: {cert_file: c.pem}}}",
        &["source.redis.tls", "key_file"],
    ),
];

#[test]
fn a_nonsensical_source_is_exit_code_3() {
    for (source, hints) in REFUSED {
        let workdir = Workdir::new(&format!("source: {source}\n"), "keys: []\n");
        for arguments in [
            &["check-config", "--offline"][..],
            &["check-config"],
            &["serve"],
        ] {
            let complaint = workdir.run(arguments).complaint(3);
            for hint in *hints {
                assert!(
                    complaint.contains(hint),
                    "{arguments:?} {source}: {hint}: {complaint}"
                );
            }
            assert!(!complaint.contains("canary"), "{complaint}");
        }
    }
}

#[test]
fn all_problems_of_a_source_are_reported_at_once() {
    let workdir = Workdir::new(
        "source: {redis: {url: \"redis://:canary@h\", timeout: 0s, tls: {cert_file: c.pem}}}\nmode: watch\n",
        "keys: []\n",
    );
    let complaint = workdir.run(&["check-config", "--offline"]).complaint(3);
    for hint in [
        "source.redis.url",
        "source.redis.timeout",
        "source.redis.tls",
        "mode",
    ] {
        assert!(complaint.contains(hint), "{hint}: {complaint}");
    }
    assert!(!complaint.contains("canary"), "{complaint}");
}
