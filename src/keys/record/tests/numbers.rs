//! Numbers in a record: each goes upstream as it is written, or the record is refused.

use super::*;

const REFUSED: &str = "a number that would not arrive as written; quote it, as in \"1.10\"";

/// What `metadata.version` is to upstreams in a record with this metadata.
fn version(metadata: &str) -> Result<String, String> {
    let record = check(&with(&format!("metadata: {metadata}")))?;
    Ok(record.metadata_scalar("version").unwrap().to_owned())
}

#[test]
fn a_number_in_a_file_goes_upstream_as_written() {
    for written in [
        "0",
        "42",
        "-7",
        "1000000",
        "18446744073709551615",
        "-9223372036854775808",
        "007",
        "1_000",
        "1.2.3",
        "1e999",
    ] {
        for metadata in [
            format!("{{version: {written}}}"),
            format!("{{\"version\":{written}, other: [0x, +x, '-0']}}"),
            format!("\n  version: {written}"),
            format!("{{version: '{written}'}}"),
        ] {
            assert_eq!(version(&metadata).as_deref(), Ok(written), "{metadata}");
        }
    }
    for written in ["1.10", "1e3", "0x1F", "0o17", "0b11", "+5", "-0", ".5"] {
        let quoted = format!("{{version: \"{written}\"}}");
        assert_eq!(version(&quoted).as_deref(), Ok(written));
        let tagged = format!("{{version: !!str {written}}}");
        assert_eq!(version(&tagged).as_deref(), Ok(written));
    }
}

#[test]
fn a_number_in_a_file_that_would_change_is_refused() {
    for written in [
        "1.10",
        "1.5",
        "1.",
        ".5",
        "00.5",
        "-0.0",
        "1e3",
        "1E3",
        "0x1F",
        "-0x1F",
        "0o17",
        "0b11",
        "+5",
        "+0x1F",
        "-0",
        "18446744073709551616",
        "-9223372036854775809",
        "123456789012345678901234567890",
        "!!int 0x1F",
        "!!int '+5'",
        "!!float 5",
    ] {
        for (metadata, place) in [
            (format!("{{version: {written}}}"), "3:21: metadata.version"),
            (
                format!("{{\"version\":{written}}}"),
                "3:22: metadata.version",
            ),
            (
                format!("\n  a: 1\n  version: {written} # note"),
                "5:12: metadata.version",
            ),
            (format!("{{a: [1, {written}]}}"), "3:19: metadata.a[1]"),
        ] {
            let column = place.split(':').nth(1).unwrap();
            let refused = version(&metadata).unwrap_err();
            // A tag stands in front of what it is of.
            let after_tag = written.starts_with('!') && !refused.contains(column);
            assert!(
                refused == format!("k:{place}: {REFUSED}")
                    || after_tag && refused.ends_with(&format!(": {REFUSED}")),
                "{metadata}: {refused}"
            );
        }
    }
    let alias = "client: &v 0x1F\nmetadata: {version: *v}";
    let refused = check(&with(alias)).unwrap_err();
    assert!(refused.ends_with(REFUSED), "{refused}");
    for infinite in [".inf", "-.inf", ".nan"] {
        let refused = version(&format!("{{version: {infinite}}}")).unwrap_err();
        assert!(refused.ends_with("; quote it"), "{refused}");
    }
    let all = check(&with("metadata: {a: 1.10, b: 0x1F, c: 31, d: {e: +5}}")).unwrap_err();
    assert_eq!(all.lines().count(), 3, "{all}");
}

/// A record in JSON with these members besides.
fn json(members: &str) -> String {
    format!(
        r#"{{"id":"a","secrets":[{{"digest":"{}"}}],{members}}}"#,
        digest("s")
    )
}

#[test]
fn a_number_in_a_remote_record_goes_upstream_as_written_or_the_record_is_refused() {
    for written in [
        "0",
        "42",
        "-7",
        "18446744073709551615",
        "-9223372036854775808",
    ] {
        let record = from_json(&json(&format!(r#""metadata":{{"version":{written}}}"#))).unwrap();
        assert_eq!(record.metadata_scalar("version"), Some(written));
    }
    for written in [
        "1.10",
        "1.0",
        "1e3",
        "1E3",
        "-0",
        "-0.0",
        "18446744073709551616",
        "-9223372036854775809",
        "123456789012345678901234567890",
    ] {
        for (members, place) in [
            (
                format!(r#""metadata":{{"version":{written}}}"#),
                "metadata.version",
            ),
            (
                format!(r#""metadata":{{"face":"\ud83d\ude00","version":{written}}}"#),
                "metadata.version",
            ),
            (
                format!(r#""metadata":{{"a":[1,{{"b":{written}}}]}}"#),
                "metadata.a[1].b",
            ),
            // A number may stand for a string, and would be another one.
            (format!(r#""client":{written}"#), "client"),
            (format!(r#""scopes":["a",{written}]"#), "scopes[1]"),
        ] {
            let invalid = from_json(&json(&members)).unwrap_err();
            let want = format!("key `a`: {place}: {REFUSED}");
            assert_eq!(&*invalid.problem, want, "{members}");
            // Nor is it written back when the record is changed.
            let read = spec_from_json(&json(&members)).map(|_| ());
            assert_eq!(read, Err(invalid), "{members}");
        }
    }
    assert!(from_json(&json(r#""metadata":{"version":1e400}"#)).is_err());
    let bare = from_json("1.5").unwrap_err().to_string();
    assert!(bare.contains("expected a mapping"), "{bare}");
}
