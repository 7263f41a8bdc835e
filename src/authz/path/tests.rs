//! Path patterns against paths, and which paths are plain.
//!
//! What no request could match is no pattern: a rule that restricts would restrict nothing.

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
        ("/é", &["/%C3%A9", "/%c3%a9"], &["/e"]),
        ("/a#b", &["/a%23b"], &["/a"]),
        ("/a b", &["/a%20b", "/a b"], &["/a+b"]),
    ] {
        for path in matching {
            assert!(
                pattern(text).matches(&PlainPath::judge(path.as_bytes()).unwrap()),
                "{text} and {path}"
            );
        }
        for path in other {
            assert!(
                !pattern(text).matches(&PlainPath::judge(path.as_bytes()).unwrap()),
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
        assert!(PlainPath::judge(path.as_bytes()).is_ok(), "{path}");
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
        assert_eq!(PlainPath::judge(path.as_bytes()), Err(NotPlain), "{path}");
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
        ("/a/../b", InvalidPathPattern::NeverMatches("..".to_owned())),
    ] {
        assert_eq!(text.parse::<PathPattern>(), Err(error), "{text}");
    }
}

#[test]
fn many_stars_do_not_make_matching_slow() {
    let text = format!("/{}", "a*".repeat(200));
    let path = format!("/{}b", "a".repeat(4000));
    assert!(pattern(&text).matches(&PlainPath::judge(path.as_bytes()).unwrap()));
    let deep = pattern(&"/**/a".repeat(100));
    assert!(!deep.matches(&PlainPath::judge("/a".repeat(99).as_bytes()).unwrap()));
}
