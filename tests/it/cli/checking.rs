//! The machine-readable output and the warnings of `check-config` and `serve`, and what neither
//! repeats.

use serde_json::{Value, json};

use super::{Run, Workdir};
use crate::support::certs::Authority;
use crate::support::keyward::Home;
use crate::support::{check, metrics, scene, wait};

const SECRET: &str = "hunter2-c4n4ry";

/// The number of denied requests in a flood.
const SENT: u64 = 60;

#[test]
fn problems_are_json_if_json_is_requested() {
    let workdir = Workdir::new("realm: a\nmode: watch\nrulez: []\n", "keys: []\n");
    let check = ["check-config", "--output", "json"];
    let run = workdir.run(&check);
    assert_eq!((run.code, &*run.stderr), (Some(3), ""), "{run:?}");
    let place = |line, column, path, message, help| {
        json!({"file": "./keyward.yaml", "line": line, "column": column, "path": path,
               "message": message, "help": help})
    };
    assert_eq!(
        run.json(),
        json!({"valid": false, "warnings": [], "problems": [
            place(2, 7, "mode", "not an allowed value", "expected one of `enforce`, `observe`"),
            place(3, 1, "rulez", "unknown field `rulez`", "did you mean `rules`?"),
        ]})
    );
    workdir.write("keyward.yaml", "mode: observe\n");
    workdir.write("keys.yaml", "keys: [{id: a}]\n");
    let run = workdir.run(&check);
    let output = run.json();
    assert_eq!((run.code, &output["valid"]), (Some(3), &Value::from(false)));
    assert_eq!(output["problems"][0]["path"], "keys[0]");
    assert_eq!(output["warnings"][0]["path"], "mode");
    let output = Workdir::empty().run(&check);
    assert_eq!(output.code, Some(3));
    let message = output.json()["problems"][0]["message"].clone();
    assert!(message.as_str().unwrap().contains("KEYWARD_CONFIG"));
}

#[test]
fn an_unusable_file_is_reported_at_the_member_that_names_it() {
    let http = "source:\n  http:\n    url: http://127.0.0.1:1/{digest}\n";
    let redis = "source:\n  redis:\n    url: rediss://127.0.0.1:1\n";
    let token = format!("{http}    bearer_token_file: nosuch\n");
    let password = format!("{redis}    password_file: nosuch\n    tls: {{ca_file: ca.pem}}\n");
    let authorities = format!("{redis}    tls: {{ca_file: nosuch}}\n");
    let cert = "server:\n  grpc:\n    tls:\n      cert_file: nosuch\n      key_file: nosuch\n";
    for (config, column, path) in [
        (&*token, 24, "source.http.bearer_token_file"),
        (&*password, 20, "source.redis.password_file"),
        (&*authorities, 20, "source.redis.tls.ca_file"),
        (cert, 18, "server.grpc.tls.cert_file"),
    ] {
        let workdir = Workdir::new(config, "keys: []\n");
        workdir.write("ca.pem", Authority::new().pem());
        let check = ["check-config", "--offline", "--output", "json"];
        let run = workdir.run(&check);
        let message = "./nosuch cannot be read: No such file or directory (os error 2)";
        let problem = json!({"file": "./keyward.yaml", "line": 4, "column": column, "path": path,
                             "message": message, "help": null});
        assert_eq!(run.json()["problems"], json!([problem]), "{config}");
        assert_eq!(run.code, Some(3), "{config}");
        let output = format!("./keyward.yaml:4:{column}: {path}: {message}");
        for arguments in [&check[..2], &["serve"]] {
            let complaint = workdir.run(arguments).complaint(3);
            assert!(complaint.contains(&output), "{arguments:?}: {complaint}");
        }
    }
}

#[test]
fn warnings_are_printed_and_change_no_exit_code() {
    let workdir = Workdir::new("mode: observe\ndefault: allow-anyone\n", "keys: []\n");
    let run = workdir.run(&["check-config"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let lines: Vec<_> = run.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{run:?}");
    assert!(
        lines[0].starts_with("warning: ./keyward.yaml:1:7: mode: "),
        "{run:?}"
    );
    let output = workdir.run(&["check-config", "--output", "json"]).json();
    assert_eq!(output["valid"], true);
    assert_eq!(output["warnings"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn serve_warns_as_check_config_does_at_the_start_and_at_each_reload() {
    let home = Home::new("{default: allow-anyone}", &scene::keys_without_plans());
    let keyward = home.start().await;
    let observing = async || {
        let metrics = keyward.fetch("/metrics").await;
        metrics::sample(&metrics, "keyward_observe_mode", &[])
    };
    let warnings = || -> Vec<String> {
        let log = keyward.log().into_iter();
        log.filter(|line| line["level"] == "warn")
            .map(|line| line["msg"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(observing().await, Some(0.0));
    assert!(
        warnings().iter().any(|text| text.contains(": default: ")),
        "{:?}",
        warnings()
    );
    keyward.home.configure("{mode: observe}");
    wait::until("the metric shows the mode", async || {
        observing().await == Some(1.0)
    })
    .await;
    wait::until("the warning is logged", async || {
        warnings().iter().any(|text| text.contains(": mode: "))
    })
    .await;
    let config: Value = serde_json::from_str(&keyward.fetch("/config").await.text()).unwrap();
    assert_eq!(config["mode"], "observe");
    keyward.home.configure("{}");
    wait::until("the metric shows the mode", async || {
        observing().await == Some(0.0)
    })
    .await;
}

#[test]
fn serve_reports_its_final_error_in_json_if_its_log_is_json() {
    let workdir = Workdir::new("mode: watch\nrulez: []\n", "keys: []\n");
    let lines = |run: &Run| -> Vec<Value> {
        let lines = run.stderr.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let run = workdir.run(&["serve"]);
    assert_eq!(run.code, Some(3), "{run:?}");
    let output = lines(&run);
    assert_eq!(output.len(), 2, "{run:?}");
    assert!(
        output
            .iter()
            .all(|line| line["level"] == "error" && line["ts"].is_string())
    );
    assert!(
        output[1]["msg"]
            .as_str()
            .unwrap()
            .starts_with("./keyward.yaml:2:1: rulez: ")
    );
    // After its start, too.
    workdir.write(
        "keyward.yaml",
        "server: {grpc: {address: \"unix:/nowhere/a.sock\"}}\n",
    );
    let run = workdir.run(&["serve"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert_eq!(lines(&run).last().unwrap()["level"], "error");
    workdir.write(
        "keyward.yaml",
        "{log: {format: text}, server: {grpc: {address: \"unix:/nowhere/a.sock\"}}}\n",
    );
    let run = workdir.run(&["serve"]);
    let last = run.stderr.lines().last().unwrap().to_owned();
    assert!(last.starts_with("error: "), "{run:?}");
}

#[test]
fn no_command_repeats_a_secret_from_the_environment() {
    let workdir = Workdir::empty();
    workdir.write("keys.yaml", "keys: []\n");
    let url = "http://127.0.0.1:1/{digest}?token=${SECRET}";
    let explain = "explain --method GET --path / -c keyward.yaml";
    for source in [
        format!("source: {{http: {{url: \"{url}\"}}}}\n"),
        format!("source: {{http: {{url: \"{url}\", bearer_token_file: \"${{SECRET}}\"}}}}\n"),
        "source: {http: {url: \"https://127.0.0.1:1/{digest}\", tls: {ca_file: \"${SECRET}\"}}}\n"
            .to_owned(),
        "source: {redis: {url: \"redis://127.0.0.1:1\", password_file: \"${SECRET}\"}}\n"
            .to_owned(),
        "server: {grpc: {tls: {cert_file: \"${SECRET}\", key_file: \"${SECRET}\"}}}\n".to_owned(),
        "digest: {pepper_file: \"${SECRET}\"}\n".to_owned(),
        "digest: {pepper_file: \"kw_hunter2-c4n4ry\"}\n".to_owned(),
    ] {
        workdir.write("keyward.yaml", &source);
        for command in [
            "check-config",
            "check-config --output json",
            "check-config --offline",
            "keys new --id a --redis redis://127.0.0.1:1",
            "keys list",
            explain,
        ] {
            let arguments: Vec<_> = command.split(' ').collect();
            let run = Run::of(workdir.command(&arguments).env("SECRET", SECRET));
            let output = format!("{}{}", run.stdout, run.stderr);
            assert!(!output.contains("c4n4ry"), "{command} {source}: {output}");
        }
    }
    workdir.write("keyward.yaml", "{}\n");
    let explain: Vec<_> = explain.split(' ').chain(["--key-file", SECRET]).collect();
    let complaint = workdir.run(&explain).complaint(1);
    assert!(complaint.contains("--key-file"), "{complaint}");
    assert!(!complaint.contains(SECRET), "{complaint}");
}

#[tokio::test]
async fn serve_and_its_admin_listener_show_no_secret_from_the_environment() {
    let url = "http://127.0.0.1:1/{digest}?token=${KEYWARD_TEST_SECRET:-hunter2-c4n4ry}";
    let config = format!("source: {{http: {{url: \"{url}\"}}}}\nlog: {{level: trace}}\n");
    let keyward = Home::new(&config, &scene::keys_without_plans())
        .start()
        .await;
    let channel = check::channel(&keyward.grpc).await;
    _ = check::check(&channel, check::with_key("made-up")).await;
    keyward.home.configure("{mode: nonsense}");
    wait::until("the reload is refused", async || {
        keyward.reloads("config", "failure").await > 0.0
    })
    .await;
    let mut output = vec![keyward.process.output()];
    for path in ["/metrics", "/readyz"] {
        output.push(keyward.fetch(path).await.text());
    }
    for text in output {
        assert!(!text.contains("c4n4ry"), "{text}");
    }
    // The default comes from the file, so the message shows it as written there.
    assert!(
        keyward
            .fetch("/config")
            .await
            .text()
            .contains("token=${KEYWARD_TEST_SECRET:-")
    );
}

#[tokio::test]
async fn a_flood_of_denials_is_logged_up_to_a_limit_per_reason_with_a_count_of_the_rest() {
    let config = "log: {decisions: denied, max_denied: 5}";
    let mut keyward = Home::new(config, &scene::keys_without_plans())
        .start()
        .await;
    let channel = check::channel(&keyward.grpc).await;
    for _ in 0..SENT {
        check::check(&channel, check::request("GET", "/", &[]))
            .await
            .unwrap();
    }
    check::check(&channel, check::with_key("unknown"))
        .await
        .unwrap();
    let count = |keyward: &crate::support::keyward::Keyward| {
        let written = keyward.decisions().into_iter();
        let written = written
            .filter(|line| line["reason"] == "missing_key")
            .count();
        let log = keyward.log().into_iter();
        let left_out = log.filter(|line| line["reason"] == "missing_key");
        let left_out: u64 = left_out.filter_map(|line| line["left_out"].as_u64()).sum();
        (u64::try_from(written).unwrap(), left_out)
    };
    // No later decision triggers the last line.
    wait::until("the count of omitted denials is logged", async || {
        let (written, left_out) = count(&keyward);
        written + left_out == SENT && left_out > 0
    })
    .await;
    let unknown = keyward.decisions().into_iter();
    assert_eq!(
        unknown
            .filter(|line| line["reason"] == "unknown_key")
            .count(),
        1
    );
    for _ in 0..SENT {
        check::check(&channel, check::request("GET", "/", &[]))
            .await
            .unwrap();
    }
    drop(channel);
    keyward.process.signal("TERM");
    keyward.process.end().await;
    let (written, left_out) = count(&keyward);
    assert_eq!(
        written + left_out,
        2 * SENT,
        "the remaining count is logged at the end"
    );
}
