//! Wrong usage is 2, invalid files are 3, and all problems of a file are reported at once.

use super::{Run, Workdir};

#[test]
fn all_problems_of_a_configuration_come_at_once_each_on_its_line() {
    let workdir = Workdir::new("realm: 5 \"x\nrules: [\n", "keys: []\n");
    let syntax = workdir.run(&["check-config"]).complaint(3);
    assert_eq!(syntax.lines().count(), 1, "a syntax error alone: {syntax}");

    workdir.write(
        "keyward.yaml",
        "rulez: []\nserver:\n  drain: 5 parsecs\nrules:\n- name: a\n  match: {paths: [\"/a?b\"]}\n  allow: anybody\nmode: watch\n",
    );
    let problems = workdir.run(&["check-config"]).complaint(3);
    let expected = [
        ("1:1", "rulez", "rules"),
        ("3:10", "server.drain", "250ms"),
        ("6:19", "rules[0].match.paths[0]", "`*`"),
        ("7:10", "rules[0].allow", "nobody"),
        ("8:7", "mode", "enforce"),
    ];
    assert_eq!(problems.lines().count(), expected.len(), "{problems}");
    for (line, (position, path, help)) in problems.lines().zip(expected) {
        assert!(
            line.starts_with(&format!("error: ./keyward.yaml:{position}: {path}: ")),
            "{line}"
        );
        assert!(line.contains(help), "says what would be right: {line}");
    }
}

#[test]
fn all_problems_of_the_key_files_come_at_once_with_those_of_certificates() {
    let workdir = Workdir::new(
        "server: {grpc: {tls: {cert_file: no.pem, key_file: no.key}}}\n",
        "keys:\n- id: a\n  secrets: [{digest: \"blake3:12\"}]\n- id: _b\n  secrets: []\n  plan: gold\n",
    );
    let problems = workdir.run(&["check-config"]).complaint(3);
    for expected in [
        "error: ./keys.yaml:3:",
        "keys[0].secrets[0].digest",
        "keys[1].id",
        "keys[1].secrets",
        "keys[1].plan",
        "no.pem",
    ] {
        assert!(problems.contains(expected), "{expected}: {problems}");
    }
    assert!(
        problems.lines().all(|line| line.starts_with("error: ")),
        "{problems}"
    );
}

#[test]
fn a_missing_configuration_is_reported_with_every_path_tried() {
    let workdir = Workdir::empty();
    let explain = ["explain", "--method", "GET", "--path", "/"];
    for arguments in [
        &["check-config"][..],
        &["serve"],
        &["health"],
        &["keys", "new", "--id", "a"],
        &explain,
    ] {
        let complaint = workdir.run(arguments).complaint(3);
        for place in [
            "-c",
            "KEYWARD_CONFIG",
            "./keyward.yaml",
            "/etc/keyward/keyward.yaml",
        ] {
            assert!(complaint.contains(place), "{arguments:?}: {complaint}");
        }
    }
}

#[test]
fn a_configuration_that_cannot_be_read_is_named() {
    let workdir = Workdir::new("{}\n", "keys: []\n");
    workdir.write("binary.yaml", b"\xff\xfe\x00{}");
    for file in ["absent.yaml", ".", "binary.yaml"] {
        let complaint = workdir.run(&["check-config", "-c", file]).complaint(3);
        assert!(complaint.contains(file), "{complaint}");
        assert_eq!(complaint.lines().count(), 1, "{complaint}");
    }
}

#[test]
fn the_environment_names_a_configuration_and_an_argument_overrides_it() {
    let workdir = Workdir::new("{}\n", "keys: []\n");
    workdir.write("other.yaml", "{mode: nonsense}\n");
    let check = |variable: &str, arguments: &[&str]| {
        Run::of(workdir.command(arguments).env("KEYWARD_CONFIG", variable)).code
    };
    assert_eq!(check("other.yaml", &["check-config"]), Some(3));
    let argument = ["check-config", "-c", "keyward.yaml"];
    assert_eq!(check("other.yaml", &argument), Some(0));
    assert_eq!(check("", &["check-config"]), Some(0), "empty is unset");
}

#[test]
fn wrong_usage_is_2_and_repeats_no_secret() {
    let workdir = Workdir::new("{}\n", "keys: []\n");
    let secret = "kw_0123456789abcdefghijklmnopqrstuvABCDEF";
    let foreign = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b";
    let header = format!("x-api-key: {secret}");
    let bearer = format!("Authorization: Bearer {foreign}");
    let path = format!("/a?api_key={secret}");
    let explain = ["explain", "--method", "GET", "--path"];
    workdir.write("query.yaml", "credentials: [{query: api_key}]\n");
    for (rest, hint) in [
        (&["/", secret][..], "never an argument"),
        (&["/", "short-one"], "never an argument"),
        (&["/", "--key", secret], "--key-file"),
        (&["/", "--source-ip", foreign], "--source-ip"),
        (&["/", "--header", &header], "--key-file"),
        (&["/", "--header", &bearer], "--key-file"),
        (&["/", "--header", secret], "--header"),
        (&[&path, "-c", "query.yaml"], "--key-file"),
        (&["/", "--body", "F"], "not supported yet"),
    ] {
        let complaint = workdir.run(&[&explain[..], rest].concat()).complaint(2);
        assert!(complaint.contains(hint), "{rest:?}: {complaint}");
        for secret in [secret, foreign, "short-one"] {
            assert!(!complaint.contains(secret), "{complaint}");
        }
    }
    for arguments in [&[secret][..], &["keys", secret], &["schema", foreign], &[]] {
        let complaint = workdir.run(arguments).complaint(2);
        assert!(
            !complaint.contains(secret) && !complaint.contains(foreign),
            "{complaint}"
        );
    }
    let typo = workdir.run(&["sever"]).complaint(2);
    assert!(typo.contains("sever") && typo.contains("serve"), "{typo}");
}

#[test]
fn errors_have_no_colour_away_from_a_terminal() {
    let workdir = Workdir::empty();
    for arguments in [&["check-config"][..], &["--nonsense"]] {
        let run = Run::of(workdir.command(arguments).env("CLICOLOR_FORCE", "1"));
        assert!(!run.stderr.contains('\u{1b}'), "{}", run.stderr);
    }
}
