//! Path patterns against paths, and which paths are plain.
//!
//! What no request could match is no pattern: a rule that restricts would restrict nothing.

use proptest::prelude::*;

use super::*;

fn pattern(text: &str) -> PathPattern {
    text.parse().unwrap()
}

#[test]
fn patterns_match_whole_paths() {
    for (text, matching, other) in [
        ("/", &["/"][..], &["/a", ""][..]),
        ("/a", &["/a", "/a/"], &["/", "/a/b", "/A", "/ab"]),
        ("/a/", &["/a", "/a/"], &["/a/b"]),
        ("/a/*", &["/a/b", "/a/b/"], &["/a", "/a/", "/a/b/c"]),
        ("/*", &["/a"], &["/", "/a/b", "*", ""]),
        (
            "/a/**",
            &["/a", "/a/", "/a/b", "/a/b/c/"],
            &["/", "/ab", "/b/a"],
        ),
        ("/**", &["/", "/a", "/a/b"], &["", "*"]),
        ("/**/c", &["/c", "/a/c", "/a/b/c", "/c/c"], &["/c/d", "/"]),
        (
            "/a/**/c/**/e",
            &["/a/c/e", "/a/b/c/d/e", "/a/c/c/e/e"],
            &["/a/e/c", "/a/c"],
        ),
        ("/v*/x", &["/v1/x", "/v/x"], &["/w1/x", "/v1/2/x"]),
        (
            "/a*b*c",
            &["/abc", "/axbxc", "/abbc", "/abcbc"],
            &["/ac", "/abcd"],
        ),
        ("/*a*", &["/a", "/xax"], &["/x"]),
        ("/aa*aa", &["/aaaa"], &["/aaa"]),
        ("/a/**/**", &["/a", "/a/b/c"], &["/ab"]),
        ("/a*/**", &["/a", "/ab", "/ab/c"], &["/b", "/"]),
        ("/**/a*", &["/a", "/b/ab"], &["/ab/b", "/"]),
        ("/*/**/*", &["/a/b", "/a/b/c"], &["/a", "/"]),
        (
            "/a/**/b/c/**/d",
            &["/a/b/c/d", "/a/b/b/c/x/d", "/a/x/b/c/d/d"],
            &["/a/b/x/c/d", "/a/b/cc/d", "/a/bb/c/d", "/a/b/c"],
        ),
        (
            "/**/b*/c/**",
            &["/b/c", "/b/b/c", "/x/bb/c/y"],
            &["/b/x/c", "/xb/c", "/b"],
        ),
        ("/é", &["/%C3%A9", "/%c3%a9"], &["/e"]),
        ("/a#b", &["/a%23b"], &["/a"]),
        ("/a b", &["/a%20b", "/a b"], &["/a+b"]),
    ] {
        for path in matching {
            assert!(
                pattern(text).matches(&PlainPath::parse(path.as_bytes()).unwrap()),
                "{text} and {path}"
            );
        }
        for path in other {
            assert!(
                !pattern(text).matches(&PlainPath::parse(path.as_bytes()).unwrap()),
                "{text} and {path}"
            );
        }
    }
}

#[test]
fn paths_that_two_programs_could_read_in_two_ways_are_not_plain() {
    for path in [
        "",
        "*",
        "/",
        "/a",
        "/a/",
        "/a/.../b",
        "/a%20b",
        "/%C3%A9",
        "/a%23",
        "/a%3f",
        "/~a,b:c@d!$&'()+=",
    ] {
        assert!(PlainPath::parse(path.as_bytes()).is_ok(), "{path}");
    }
    for path in [
        "a",
        "//",
        "//a",
        "/a//b",
        "/a//",
        "/.",
        "/..",
        "/a/./b",
        "/a/../b",
        "/a/..",
        "/a\\b",
        "/a;b",
        "/a#b",
        "/a\u{1}",
        "/a\u{7f}",
        "/é",
        "/%",
        "/%2",
        "/%zz",
        "/%2e",
        "/%2E%2e/a",
        "/%2f",
        "/%2F",
        "/%5c",
        "/%3b",
        "/%25",
        "/%252e",
        "/%00",
        "/%0a",
        "/%7f",
        "/%c0%ae%c0%ae/a",
        "/a%ff",
        "/%C3/%A9",
        "/%C3",
        "/%ed%a0%80",
        "/%f4%90%80%80",
        "**",
        "http://h/a",
        "*/",
    ] {
        assert_eq!(PlainPath::parse(path.as_bytes()), Err(NotPlain), "{path}");
    }
}

#[test]
fn what_is_no_pattern_says_why() {
    for (text, error) in [
        ("", InvalidPathPattern::NoSlash),
        ("a", InvalidPathPattern::NoSlash),
        ("*", InvalidPathPattern::NoSlash),
        ("/a?", InvalidPathPattern::Special('?')),
        ("/[a]", InvalidPathPattern::Special('[')),
        ("/{a,b}", InvalidPathPattern::Special('{')),
        ("/a\\", InvalidPathPattern::Special('\\')),
        ("/a**", InvalidPathPattern::NotAlone),
        ("/a%2fb", InvalidPathPattern::Encoded),
        ("/caf%C3%A9", InvalidPathPattern::Encoded),
        ("/a;b", InvalidPathPattern::NeverInPath(';')),
        ("/a\n", InvalidPathPattern::NeverInPath('\n')),
        ("/a\u{7f}b", InvalidPathPattern::NeverInPath('\u{7f}')),
        ("/a//b", InvalidPathPattern::NeverMatches(String::new())),
        ("//", InvalidPathPattern::NeverMatches(String::new())),
        ("/a//", InvalidPathPattern::NeverMatches(String::new())),
        ("/a/../b", InvalidPathPattern::NeverMatches("..".to_owned())),
    ] {
        assert_eq!(text.parse::<PathPattern>(), Err(error), "{text}");
    }
}

#[test]
fn many_stars_do_not_make_matching_slow() {
    let text = format!("/{}", "a*".repeat(200));
    let path = format!("/{}b", "a".repeat(4000));
    assert!(pattern(&text).matches(&PlainPath::parse(path.as_bytes()).unwrap()));
    let deep = pattern(&"/**/a".repeat(100));
    assert!(!deep.matches(&PlainPath::parse("/a".repeat(99).as_bytes()).unwrap()));
}

#[test]
fn a_path_is_checked_and_decoded_once_for_a_request() {
    let request = RequestAttributes {
        method: b"GET",
        host: b"h",
        target: b"/%61/b?c=/../d",
        scheme: b"https",
        headers: crate::authz::request::Headers::default(),
        peer: None,
        rule: None,
    };
    let mut path = RequestPath::of(&request);
    let decoded =
        |path: &mut RequestPath<'_>| path.plain().unwrap().segments.as_ref().unwrap().as_ptr();
    assert_eq!(decoded(&mut path), decoded(&mut path));
    assert!(pattern("/a/b").matches(path.plain().unwrap()));
}

/// Tries every way there is.
fn naively(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern, path) {
        ([], []) => true,
        (["**", rest @ ..], _) => {
            naively(rest, path) || (!path.is_empty() && naively(pattern, &path[1..]))
        }
        ([wanted, patterns @ ..], [segment, segments @ ..]) => {
            segment_naively(wanted.as_bytes(), segment.as_bytes()) && naively(patterns, segments)
        }
        _ => false,
    }
}

fn segment_naively(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => {
            segment_naively(rest, text)
                || (!text.is_empty() && segment_naively(pattern, &text[1..]))
        }
        ([wanted, patterns @ ..], [byte, bytes @ ..]) => {
            wanted == byte && segment_naively(patterns, bytes)
        }
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_pattern_matches_what_some_way_of_reading_it_matches(
        wanted in proptest::collection::vec(
            prop::sample::select(vec!["**", "**", "a", "b", "*", "a*", "*b", "a*b", "ab"]), 0..8),
        sent in proptest::collection::vec(prop::sample::select(vec!["a", "b", "ab", "aab", "ba", "c"]), 0..10),
        slashes in any::<(bool, bool)>(),
    ) {
        let text = |segments: &[&str], slash: bool| {
            let end = if slash && !segments.is_empty() { "/" } else { "" };
            format!("/{}{end}", segments.join("/"))
        };
        let path = text(&sent, slashes.1);
        let plain = PlainPath::parse(path.as_bytes()).unwrap();
        prop_assert_eq!(pattern(&text(&wanted, slashes.0)).matches(&plain), naively(&wanted, &sent));
    }
}
