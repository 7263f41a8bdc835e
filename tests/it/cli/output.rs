//! What commands print on stdout on success.

use std::process::Stdio;

use super::{Run, Workdir};

#[test]
fn check_config_prints_what_it_found() {
    let workdir = Workdir::new("plans: {gold: {scopes: [a]}}\n", "keys: []\n");
    assert_eq!(
        workdir.run(&["check-config"]).data(),
        "./keyward.yaml: valid; 0 rules, 1 plans, 0 keys in ./keys.yaml\n"
    );
    let found = workdir.run(&["check-config", "--output", "json"]).json();
    assert_eq!(
        found,
        serde_json::json!({
            "valid": true, "problems": [], "warnings": [],
            "config": "./keyward.yaml", "source": "./keys.yaml", "rules": 0, "plans": 1, "keys": 0,
        })
    );
}

#[test]
fn version_help_and_completions_go_to_stdout() {
    let workdir = Workdir::empty();
    let version = workdir.run(&["--version"]).data();
    let revision = env!("KEYWARD_REVISION");
    let expected = format!("keyward {} ({revision})\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(version, expected);
    let help = workdir.run(&["--help"]).data();
    for command in [
        "serve",
        "check-config",
        "explain",
        "keys",
        "health",
        "schema",
        "completions",
    ] {
        assert!(help.contains(command), "{command}: {help}");
        let own = workdir.run(&[command, "--help"]).data();
        assert!(
            own.contains("Usage: keyward ") && own.contains("Examples:"),
            "{own}"
        );
    }
    for (shell, mark) in [
        ("bash", "complete -F _keyward"),
        ("zsh", "#compdef keyward"),
        ("fish", "complete -c keyward"),
    ] {
        let script = workdir.run(&["completions", shell]).data();
        assert!(script.contains(mark), "{shell}");
        assert!(script.contains("check-config"), "{shell}");
    }
}

#[test]
fn a_closed_stdout_changes_no_exit_code() {
    let workdir = Workdir::new("{}\n", "keys: []\n");
    let explain = ["explain", "--method", "GET", "--path", "/"];
    for (arguments, code) in [
        (&["schema", "config"][..], 0),
        (&["completions", "bash"], 0),
        (&["check-config"], 0),
        (&explain, 4),
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let run = Run::of(
            workdir
                .command(arguments)
                .stdout(Stdio::from(writer))
                .stderr(Stdio::piped()),
        );
        assert_eq!((run.code, &*run.stderr), (Some(code), ""), "{arguments:?}");
    }
}
