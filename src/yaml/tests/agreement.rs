//! The two ways of reading against each other: what one accepts the other accepts, as the same
//! value.

use proptest::prelude::*;

use super::*;

const TEXT: &str = "# keys
server: {port: 80, drain: 5s, mode: deny, level: -3, tls: {cert_file: 'a', key_file: \"b\\n\"}}
keys:
- id: &x a.b
  secrets:
  - digest: >-
      blake3:00
      11
    until: 2026-11-01T00:00:00Z
  enabled: false
  allow_hosts: [*x, 'it''s', '~']
  expires_at: null
  metadata: {a: 1, \"b\": [true, {c: 31}], d: word, e: long text}
plans:
  gold: {scopes: [a, \"b:c\"]}
  silver: {}
...
";

/// Whether each way accepts the text, the fast one first.
fn read_both_ways(text: &str) -> (bool, bool) {
    let fast = serde_yaml::from_str::<Mapping<FileSpec>>(text).map(|Mapping(spec)| spec);
    let slow = read_slowly(text);
    if let (Ok(fast), Ok(slow)) = (&fast, &slow) {
        assert_eq!(fast, slow, "{text}");
    }
    (fast.is_ok(), slow.is_ok())
}

#[test]
fn a_document_cut_anywhere_is_read_the_same_both_ways() {
    assert_eq!(read_both_ways(TEXT), (true, true));
    for end in 0..TEXT.len() {
        let cut = TEXT.get(..end).unwrap();
        // What holds nothing yet is refused before either way is taken.
        if Source::new(Path::new("f"), cut).refuse_empty().is_ok() {
            let (fast, slow) = read_both_ways(cut);
            assert_eq!(fast, slow, "{cut}");
        }
    }
}

#[test]
fn a_document_with_a_letter_changed_is_read_the_same_both_ways() {
    for place in (0..TEXT.len()).step_by(2) {
        for letter in ["\n", " ", "'", "]", ",", "0"] {
            let mut changed = TEXT.to_owned();
            changed.replace_range(place..=place, letter);
            let (fast, slow) = read_both_ways(&changed);
            assert_eq!(fast, slow, "{changed}");
        }
    }
}

#[test]
fn lines_within_brackets_may_begin_anywhere_and_problems_tell_their_columns_as_they_are() {
    for text in [
        "plans: {\n}\nkeys: [\n]\n",
        "plans:\n  gold: {\n  scopes: [\na,\n  b\n  ]\n  }\n",
        "server: {port:\n80}\n",
        "server:\n  tls:\n    key_file: \"a\n}\"\n    cert_file: 'x\ny'\n",
    ] {
        assert_eq!(read_both_ways(text), (true, true), "{text}");
    }
    assert_eq!(
        lines("plans:\n  gold: {\n  scopes: [\n  ], more: 1\n  }\n"),
        ["f.yaml:4:6: plans.gold.more: unknown field `more`; expected `scopes`"]
    );
    let text = "server:\n  tls:\n    key_file: |\n      }\n    cert_file: {\n  }\n";
    assert_eq!(
        lines(text),
        ["f.yaml:5:16: server.tls.cert_file: expected a string, found a mapping"]
    );
}

#[test]
fn a_tag_with_a_comma_behind_it_is_an_error_and_no_panic() {
    for (tag, column) in [("!x", 25), ("!!str", 25), ("!", 25)] {
        let text = format!("plans: {{gold: {{scopes: [{tag}, b]}}}}\n");
        let problem = read_slowly(&text).unwrap_err().to_string();
        let position = format!("f.yaml:1:{column}: YAML that cannot be read here");
        assert!(problem.starts_with(&position), "{problem}");
        let deep = format!("a: [{tag},{}", "[".repeat(2000));
        let problem = read_slowly(&deep).unwrap_err().to_string();
        assert!(problem.contains("cannot be read here"), "{problem}");
    }
}

#[test]
fn letters_of_several_bytes_change_no_block_scalar() {
    for text in [
        "# éééééééé\nplans:\n  gold:\n    scopes:\n    - |\n      a\n    - b",
        "plans: {}\nserver: {cert_file: |\n  é}",
    ] {
        let (fast, slow) = read_both_ways(text);
        assert_eq!(fast, slow, "{text}");
    }
    let problems = lines("ｆoo: 1\n");
    assert_eq!(problems.len(), 1);
    assert!(problems[0].starts_with("f.yaml:1:1: "), "{problems:?}");
}

/// A document of any members.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(transparent)]
struct AnySpec(Members<Free>);

impl Document for AnySpec {
    fn shape() -> &'static Shape {
        static SHAPE: OnceLock<Shape> = OnceLock::new();
        SHAPE.get_or_init(|| Shape::new(&schemars::schema_for!(Members<Free>), &[]))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// What `serde_yaml` finds well-formed the tree's parser reads, without a panic and as the
    /// same.
    #[test]
    fn a_document_of_any_kind_is_read_the_same_both_ways(
        pieces in proptest::collection::vec(
            (0..40_usize, "[-a: \\[\\]{}\"'|>#&*!?%@`é\n\r\t]{1,4}|\\|\n 0|---\n|>-\n|!b,|\\[!, b\\]"),
            0..4,
        ),
    ) {
        let mut text = TEXT.to_owned();
        for (place, piece) in pieces {
            let mut at = text.len() * place / 40;
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            text.insert_str(at, &piece);
        }
        let source = Source::new(Path::new("f.yaml"), &text);
        let straight = read_straight::<AnySpec>(&text);
        let tree = source.read_tree(None);
        if let (Some(AnySpec(straight)), Ok(tree)) = (straight, tree) {
            let whole = |AnySpec(spec), _: &FieldPath<'_>| Some(spec);
            let slow = convert_tree(&source, tree, whole);
            prop_assert_eq!(slow.map(|converted| converted.value), Ok(straight), "{}", text);
        }
    }
}
