//! Configurations that would open a hole are refused at load with exit code 3, by `check-config`
//! and by `serve`.

use std::process::Command;

use crate::support::keyward::Home;
use crate::support::process::Process;
use crate::support::scene;

/// Exit code and output of `keyward COMMAND` on a configuration.
async fn run(command: &str, home: &Home) -> (Option<i32>, String) {
    let mut process = Process::start(
        Command::new(env!("CARGO_BIN_EXE_keyward"))
            .arg(command)
            .arg("-c")
            .arg(home.config())
            .current_dir(home.dir.path()),
    );
    let status = process.end().await;
    (status.code(), process.output())
}

#[tokio::test]
async fn identity_header_names_that_would_do_harm_are_refused() {
    for name in [
        ":path",
        ":authority",
        "host",
        "Host",
        "content-length",
        "Content-Length",
        "transfer-encoding",
        "connection",
        "te",
        "trailer",
        "upgrade",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "cookie",
        "x-envoy-external-address",
        "X-Envoy-Original-Path",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-request-id",
        "grpc-status",
        "grpc-timeout",
        "x-api-key",
        "X-Api-Key",
        "authorization",
        "",
        "with space",
        "with:colon",
        "with\\r\\nnewline",
        "caf\u{e9}",
    ] {
        let config = format!("identity: {{headers: {{\"{name}\": key.id}}}}");
        let home = Home::new(&config, &scene::keys_without_plans());
        let (code, output) = run("check-config", &home).await;
        assert_eq!(code, Some(3), "{name:?}: {output}");
        assert!(
            output.contains("identity"),
            "{name:?}: names the place: {output}"
        );
    }
}

#[tokio::test]
async fn two_identity_headers_that_an_upstream_may_confuse_are_refused() {
    for pair in [
        "x-org-id: key.id, x_org_id: key.client",
        "x-org: key.id, X-Org: key.client",
    ] {
        let config = format!("identity: {{headers: {{{pair}}}}}");
        let home = Home::new(&config, &scene::keys_without_plans());
        let (code, output) = run("check-config", &home).await;
        assert_eq!(code, Some(3), "{pair}: {output}");
    }
}

#[tokio::test]
async fn serve_refuses_what_check_config_refuses() {
    for config in [
        "identity: {headers: {host: key.id}}",
        "{realm: \"a\\\"b\"}",
        "{plans: {gold: {limits: [{name: burst, rate: 50/s}]}}}",
        "{rules: [{name: tools, match: {paths: [/mcp]}, mcp: {}}]}",
        "{rules: [{name: r, match: {paths: [\"/a?b\"]}, allow: anyone}]}",
        "{rules: [{name: r, match: {paths: []}, allow: anyone}]}",
        "{rules: [{name: r, allow: anyone}, {name: r, allow: nobody}]}",
        "{rulez: []}",
        "{server: {drain: 5 parsecs}}",
        "{realm: \"${KEYWARD_TEST_NO_SUCH_VARIABLE}\"}",
    ] {
        let home = Home::new(config, &scene::keys_without_plans());
        for command in ["check-config", "serve"] {
            let (code, output) = run(command, &home).await;
            assert_eq!(code, Some(3), "{command} {config}: {output}");
        }
    }
}

#[tokio::test]
async fn an_invalid_key_file_is_exit_code_3_at_start() {
    let good = scene::keys_without_plans();
    for (name, text) in [
        ("empty", String::new()),
        ("half", good.text()[..good.text().len() / 2].to_owned()),
        (
            "a repeated key",
            format!("{0}{1}", good.text(), &good.text()["keys:\n".len()..]),
        ),
        (
            "an unknown field",
            good.text().replace("allow_paths", "allow_pathz"),
        ),
        (
            "an unknown plan",
            format!("{}    plan: nope\n", good.text()),
        ),
    ] {
        let home = Home::new("{}", &good);
        std::fs::write(home.keys(), text).unwrap();
        for command in ["check-config", "serve"] {
            let (code, output) = run(command, &home).await;
            assert_eq!(code, Some(3), "{command}, {name}: {output}");
        }
    }
}

#[tokio::test]
async fn a_good_configuration_passes() {
    let home = Home::new(scene::CONFIG, &scene::keys());
    let (code, output) = run("check-config", &home).await;
    assert_eq!(code, Some(0), "{output}");
}
