//! How `explain` gets a secret and where it presents it: as a caller would, without showing it.

use super::Workdir;
use super::explain::{explain, workdir};
use crate::support::keyfile::{digest, keyed_digest};
use crate::support::scene;

#[test]
fn the_secret_is_presented_at_the_first_location_of_any_kind() {
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
        let workdir = Workdir::new(
            &format!("credentials:\n- {place}\n- header: x-last\n"),
            &keys,
        );
        workdir.write("secret", secret);
        for path in ["/a", "/a?b=c"] {
            let run = workdir.run(&[
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
    let workdir = Workdir::new("digest: {pepper_file: pepper}\n", &keys);
    workdir.write("pepper", format!("{pepper}\n"));
    let run = workdir.explain_get("peppered", &[]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(
        run.stdout
            .contains(&format!("{keyed} is a secret of key hot")),
        "{run:?}"
    );
    assert!(!run.stdout.contains(pepper), "{run:?}");
}

#[test]
fn odd_key_files_get_messages_of_their_own() {
    let workdir = workdir();
    workdir.write("empty", "");
    workdir.write("newline", "\n");
    workdir.write("longest", "a".repeat(512) + "\r\n");
    workdir.write("long", "a".repeat(513));
    workdir.write("huge", "a".repeat(100_000));
    workdir.write("binary", b"\xff\x00\xfe");
    workdir.write("cut", "kw_0123456789abcdef");
    for (file, reason, expected) in [
        ("empty", "missing_key", "--key-file is empty"),
        ("newline", "missing_key", "--key-file is empty"),
        ("longest", "unknown_key", "no key has this secret"),
        ("long", "malformed_key", "longer than 512 bytes"),
        ("huge", "malformed_key", "longer than 512 bytes"),
        ("binary", "malformed_key", "not visible ASCII"),
        ("cut", "unknown_key", "it was cut or mistyped"),
    ] {
        let run = workdir.run(&[
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
            run.stdout.contains(reason) && run.stdout.contains(expected),
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
        let complaint = workdir.run(&arguments).complaint(1);
        assert!(
            complaint.contains("read the file that --key-file gives for x-api-key")
                && !complaint.contains(file),
            "{complaint}"
        );
    }
}

#[test]
fn headers_without_a_secret_are_accepted() {
    let workdir = workdir();
    let basic = [
        "--header",
        "Authorization: Basic Zm9vOmJhcg==",
        "--header",
        "accept: */*",
    ];
    let run = explain(
        &workdir,
        "bare",
        &[&["--method", "GET", "--path", "/"], &basic[..]].concat(),
    );
    assert_eq!(run.code, Some(0), "{run:?}");
}

/// Explains `GET /` with these additional arguments.
fn get(workdir: &Workdir, more: &[&str]) -> super::Run {
    workdir.run(&[&["explain", "--method", "GET", "--path", "/"], more].concat())
}

#[test]
fn an_ambiguous_request_is_replayed_with_a_file_per_location() {
    let workdir = workdir();
    let (a, b) = (scene::secret("bare"), scene::secret("full"));
    workdir.write("a", format!("{a}\n"));
    workdir.write("b", format!("{b}\n"));
    for (files, expected) in [
        (&["x-api-key=a"][..], "one secret is presented"),
        (
            &["X-Api-Key=a", "authorization=a"],
            "one secret is presented",
        ),
        (
            &["query:api_key=a", "cookie:api_key=a"],
            "one secret is presented",
        ),
        (
            &["x-api-key=a", "authorization=b"],
            "x-api-key and authorization are both filled",
        ),
        (&["x-api-key=a", "x-api-key=a"], "x-api-key is filled twice"),
        (
            &["query:api_key=a", "query:api_key=a"],
            "query:api_key is filled twice",
        ),
        (
            &["query:api_key=a", "cookie:api_key=b"],
            "query:api_key and cookie:api_key are both filled",
        ),
        (
            &["a", "cookie:api_key=b"],
            "x-api-key and cookie:api_key are both filled",
        ),
    ] {
        let files: Vec<&str> = files.iter().flat_map(|file| ["--key-file", file]).collect();
        let run = get(&workdir, &files);
        assert!(run.stdout.contains(expected), "{files:?}: {run:?}");
        let is_ambiguous = run.stdout.contains("deny ambiguous_key");
        assert_eq!(is_ambiguous, expected.contains("filled"), "{run:?}");
        assert!(
            !run.stdout.contains(&a) && !run.stdout.contains(&b),
            "{run:?}"
        );
    }
    for (files, expected) in [
        (
            &["x-api-kye=a"][..],
            "there are x-api-key, authorization, query:api_key, cookie:api_key",
        ),
        (&["query:API_KEY=a"], "there are x-api-key"),
        (
            &["x-api-key=-", "authorization=-"],
            "there is one standard input",
        ),
    ] {
        let files: Vec<&str> = files.iter().flat_map(|file| ["--key-file", file]).collect();
        let complaint = get(&workdir, &files).complaint(2);
        assert!(complaint.contains(expected), "{complaint}");
    }
    workdir.write("x=y", format!("{a}\n"));
    assert_eq!(get(&workdir, &["--key-file", "./x=y"]).code, Some(0));
}

#[test]
fn a_secret_in_a_header_argument_is_refused_with_a_hint_to_the_location() {
    let workdir = workdir();
    for (more, hint) in [
        (
            ["--header", "x-api-key: canary"],
            "--key-file x-api-key=FILE",
        ),
        (
            ["--header", "authorization: bearer canary"],
            "--key-file authorization=FILE",
        ),
        (
            ["--header", "cookie: a=1; api_key=canary"],
            "--key-file cookie:api_key=FILE",
        ),
    ] {
        let complaint = get(&workdir, &more).complaint(2);
        assert!(complaint.contains(hint), "{complaint}");
        assert!(!complaint.contains("canary"), "{complaint}");
    }
}

#[test]
fn a_scheme_in_a_key_file_is_hinted_at_without_its_secret() {
    let workdir = workdir();
    let secret = scene::secret("bare");
    workdir.write("bearer", format!("Bearer {secret}\n"));
    workdir.write("basic", format!("basic {secret}\n"));
    for file in [
        "x-api-key=bearer",
        "authorization=bearer",
        "cookie:api_key=basic",
    ] {
        let run = get(&workdir, &["--key-file", file]);
        assert!(run.stdout.contains("malformed_key"), "{file}: {run:?}");
        let hint = "the file holds the secret alone";
        assert!(run.stdout.contains(hint), "{file}: {run:?}");
        assert!(!run.stdout.contains(&secret), "{file}: {run:?}");
    }
    // A header without the scheme is not a credential, and explain says so.
    let run = get(&workdir, &["--header", &format!("authorization: {secret}")]);
    assert!(
        run.stdout
            .contains("header authorization has no scheme Bearer in front"),
        "{run:?}"
    );
    assert!(!run.stdout.contains(&secret), "{run:?}");
}

#[test]
fn https_is_assumed_and_the_scheme_can_be_set() {
    let workdir = Workdir::new(
        &format!("{}require_https: true\n", scene::CONFIG),
        scene::keys().text(),
    );
    workdir.write("a", scene::secret("bare"));
    let key = ["--key-file", "a"];
    assert_eq!(get(&workdir, &key).code, Some(0));
    let plain = get(&workdir, &[&key[..], &["--scheme", "http"]].concat());
    assert_eq!(plain.code, Some(4), "{plain:?}");
    let step = "failed transport    no x-forwarded-proto came, and the scheme is http: require_https asks for https";
    assert!(plain.stdout.contains(step), "{plain:?}");
    let odd = get(&workdir, &[&key[..], &["--scheme", "ftp"]].concat());
    assert!(odd.complaint(2).contains("[possible values: http, https]"));
    let forwarded = get(
        &workdir,
        &[&key[..], &["--header", "x-forwarded-proto: http"]].concat(),
    );
    assert!(
        forwarded.stdout.contains("x-forwarded-proto is http: "),
        "{forwarded:?}"
    );
}

#[test]
fn a_difference_in_case_alone_is_pointed_out() {
    let workdir = workdir();
    for (id, method, path, expected) in [
        (
            "bare",
            "GET",
            "/Public/a",
            "its paths are [/public/**]: it differs only in case",
        ),
        (
            "this-path",
            "GET",
            "/V1/a",
            "the key's allow_paths [/v1/**]: it differs only in case",
        ),
        (
            "this-method",
            "post",
            "/v1",
            "the key's allow_methods [GET, POST]: it differs only in case",
        ),
        (
            "bare",
            "post",
            "/v1",
            "its methods are [POST]: it differs only in case",
        ),
    ] {
        workdir.write("key", scene::secret(id));
        let run = workdir.run(&[
            "explain",
            "--method",
            method,
            "--path",
            path,
            "--host",
            "api.example.com",
            "--key-file",
            "key",
        ]);
        assert!(run.stdout.contains(expected), "{expected}: {run:?}");
    }
    workdir.write("key", scene::secret("this-path"));
    let run = workdir.run(&[
        "explain",
        "--method",
        "GET",
        "--path",
        "/v2",
        "--key-file",
        "key",
    ]);
    assert!(!run.stdout.contains("only in case"), "{run:?}");
}
