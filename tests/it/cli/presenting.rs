//! How `explain` comes by a secret and where it puts it: as a caller would, and without showing it.

use super::Desk;
use super::explain::{desk, explain};
use crate::support::keyfile::{digest, keyed_digest};

#[test]
fn the_secret_goes_to_the_first_place_whatever_it_is() {
    let secret = "a+b/c&d=e%f";
    let keys = format!(
        "keys:\n- id: odd\n  secrets: [{{digest: \"{}\"}}]\n",
        digest(secret)
    );
    for place in [
        "header: x-other-key",
        "{header: authorization, scheme: Token}",
        "query: api_key",
        "cookie: session",
    ] {
        let desk = Desk::new(
            &format!("credentials:\n- {place}\n- header: x-last\n"),
            &keys,
        );
        desk.write("secret", secret);
        for path in ["/a", "/a?b=c"] {
            let run = desk.run(&[
                "explain",
                "--method",
                "GET",
                "--path",
                path,
                "--key-file",
                "secret",
            ]);
            assert_eq!(run.code, Some(0), "{place}: {run:?}");
            assert!(!run.stdout.contains(secret), "{run:?}");
        }
    }
}

#[test]
fn a_pepper_is_used_and_never_shown() {
    let pepper = "0123456789abcdef0123456789abcdef";
    let keyed = keyed_digest("peppered", pepper.as_bytes());
    let keys = format!("keys:\n- id: hot\n  secrets: [{{digest: \"{keyed}\"}}]\n");
    let desk = Desk::new("digest: {pepper_file: pepper}\n", &keys);
    desk.write("pepper", format!("{pepper}\n"));
    let run = desk.explain_get("peppered", &[]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(
        run.stdout
            .contains(&format!("{keyed} is a secret of key hot")),
        "{run:?}"
    );
    assert!(!run.stdout.contains(pepper), "{run:?}");
}

#[test]
fn odd_key_files_are_told_apart() {
    let desk = desk();
    desk.write("empty", "");
    desk.write("newline", "\n");
    desk.write("longest", "a".repeat(512) + "\r\n");
    desk.write("long", "a".repeat(513));
    desk.write("huge", "a".repeat(100_000));
    desk.write("binary", b"\xff\x00\xfe");
    desk.write("cut", "kw_0123456789abcdef");
    for (file, reason, told) in [
        ("empty", "missing_key", "--key-file is empty"),
        ("newline", "missing_key", "--key-file is empty"),
        ("longest", "unknown_key", "no key has this secret"),
        ("long", "malformed_key", "longer than 512 bytes"),
        ("huge", "malformed_key", "longer than 512 bytes"),
        ("binary", "malformed_key", "not visible ASCII"),
        ("cut", "unknown_key", "it was cut or mistyped"),
    ] {
        let run = desk.run(&[
            "explain",
            "--method",
            "GET",
            "--path",
            "/",
            "--key-file",
            file,
        ]);
        assert_eq!((run.code, &*run.stderr), (Some(4), ""), "{file}: {run:?}");
        assert!(
            run.stdout.contains(reason) && run.stdout.contains(told),
            "{file}: {run:?}"
        );
    }
    for file in ["absent-hunter2", "./sub-hunter2"] {
        let arguments = [
            "explain",
            "--method",
            "GET",
            "--path",
            "/",
            "--key-file",
            file,
        ];
        let complaint = desk.run(&arguments).complaint(1);
        assert!(
            complaint.contains("read the file that --key-file names") && !complaint.contains(file),
            "{complaint}"
        );
    }
}

#[test]
fn headers_that_hold_no_secret_are_taken() {
    let desk = desk();
    let basic = [
        "--header",
        "Authorization: Basic Zm9vOmJhcg==",
        "--header",
        "accept: */*",
    ];
    let run = explain(
        &desk,
        "bare",
        &[&["--method", "GET", "--path", "/"], &basic[..]].concat(),
    );
    assert_eq!(run.code, Some(0), "{run:?}");
}
