//! A shell runs the commands of the documentation, as a reader would. Only the ports differ, and
//! where Envoy and Redis are.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::{blocks, page, section};
use crate::cli::{Run, Workdir};
use crate::support::envoy;
use crate::support::port::Port;
use crate::support::redis::{Kind, Server};

/// The commands of a page or a section, one block after the other.
fn commands(text: &str) -> String {
    blocks(text, "sh").concat()
}

/// Runs a script in that directory, with keyward on the `PATH`. Its background processes end with
/// it.
fn run(directory: &Path, script: &str) -> Run {
    let keyward = Path::new(env!("CARGO_BIN_EXE_keyward")).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    let whole =
        format!("set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || :; wait' EXIT\n{script}");
    Run::of(
        Command::new("bash")
            .args(["-c", &whole])
            .current_dir(directory)
            .env("PATH", format!("{}:{path}", keyward.display()))
            .env_remove("KEYWARD_CONFIG"),
    )
}

fn with_ports(text: &str, ports: &[(&str, Port)]) -> String {
    ports.iter().fold(text.to_owned(), |text, (number, port)| {
        text.replace(number, &port.number().to_string())
    })
}

/// What the README's commands need of `deploy/`: the bootstrap on other ports, and an Envoy that
/// runs beside others.
fn lay_out_deploy(root: &Path, ports: &[(&str, Port)]) {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    fs::create_dir_all(root.join("deploy/envoy")).unwrap();
    symlink(ours.join("local"), root.join("deploy/local")).unwrap();
    let bootstrap = fs::read_to_string(ours.join("envoy/envoy.yaml")).unwrap();
    fs::write(
        root.join("deploy/envoy/envoy.yaml"),
        with_ports(&bootstrap, ports),
    )
    .unwrap();
    let program = |name: &str, text: String| {
        let path = root.join("deploy/envoy").join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    };
    let envoy = format!(
        "#!/bin/sh\nexec {} --use-dynamic-base-id --concurrency 1 \"$@\"\n",
        envoy::binary().display()
    );
    let envoy = program("envoy", envoy);
    program("install", format!("#!/bin/sh\necho {}\n", envoy.display()));
}

#[test]
fn the_readmes_commands_for_a_key_of_your_own_work() {
    let ports = ["10000", "9901", "9191", "9192", "8080"].map(|number| (number, Port::reserve()));
    let directory = TempDir::new().unwrap();
    lay_out_deploy(directory.path(), &ports);
    let readme = page("README.md");
    let script = commands(section(&readme, "## Make a key of your own"));
    // As the README says, a reader waits until Envoy is up.
    let ready = "for i in $(seq 200); do \
         [ \"$(curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:10000/public/up)\" = 200 ] && break; sleep 0.05; done\n";
    let (before, requests) = script.split_at(script.find("curl").unwrap());
    let script = format!("{before}{ready}{requests}");
    let run = run(directory.path(), &with_ports(&script, &ports));
    assert_eq!(run.code, Some(0), "{run:?}");
    for expected in [
        "passed key",
        "HTTP/1.1 200 OK",
        "\"x-keyward-client\": \"acme\"",
        "\"x-keyward-scopes\": \"invoices:read\"",
        "HTTP/1.1 401 Unauthorized",
        "\"code\":\"missing_key\"",
    ] {
        assert!(run.stdout.contains(expected), "{expected}: {run:?}");
    }
    assert!(!run.stdout.contains("\"x-api-key\""), "{run:?}");
}

#[test]
fn the_commands_on_key_files_work() {
    let directory = TempDir::new().unwrap();
    let run = run(directory.path(), &commands(&page("docs/keys.md")));
    assert_eq!(run.code, Some(0), "{run:?}");
    let keys = fs::read_to_string(directory.path().join("keys.yaml")).unwrap();
    assert!(keys.contains("reports-bot"), "{keys}");
}

#[tokio::test]
async fn the_commands_on_redis_work() {
    let server = Server::start(Kind::Redis).await;
    let script = commands(&page("docs/sources.md"));
    assert!(script.contains("redis://127.0.0.1:6379"), "{script}");
    let script = script.replace("redis://127.0.0.1:6379", &server.url());
    let directory = TempDir::new().unwrap();
    let run = run(directory.path(), &script);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stdout.contains("invoices-bot  acme"), "{run:?}");
    assert!(run.stdout.contains("is revoked since"), "{run:?}");
}

/// Replaces digests and times, which differ in every run.
fn masked(text: &str) -> String {
    let mask = |word: &str| {
        if word.starts_with("blake3:") {
            "DIGEST".to_owned()
        } else if word.starts_with("20") && word.trim_end_matches(';').ends_with('Z') {
            "MOMENT".to_owned()
        } else {
            word.to_owned()
        }
    };
    text.lines()
        .map(|line| line.split(' ').map(mask).collect::<Vec<_>>().join(" ") + "\n")
        .collect()
}

#[test]
fn explain_prints_what_the_documentation_shows() {
    let (configuration, keys) = (page("docs/configuration.md"), page("docs/keys.md"));
    let workdir = Workdir::new(blocks(&configuration, "yaml")[0], blocks(&keys, "yaml")[0]);
    let digest = workdir.read("keys.yaml");
    let (_, rest) = digest.split_once("blake3:").unwrap();
    let secret = "an-example";
    let digest = blake3::hash(secret.as_bytes()).to_hex();
    workdir.write(
        "keys.yaml",
        workdir
            .read("keys.yaml")
            .replace(rest.get(..64).unwrap(), &digest),
    );
    workdir.write("secret.txt", secret);
    let text = page("docs/decisions.md");
    let example = blocks(section(&text, "## Try it without a server"), "console")[0];
    let (command, shown) = example.split_once('\n').unwrap();
    let words: Vec<_> = command
        .split(' ')
        .skip_while(|word| *word != "explain")
        .collect();
    let run = workdir.run(&words);
    assert_eq!(run.code, Some(4), "{run:?}");
    assert_eq!(masked(&run.stdout), masked(shown));
}
