//! Tests of the architecture: who may import whom, how long a file may be, and what no file may
//! contain.
//!
//! They read the sources as text: `crate::room` anywhere in a file of `src/` counts as an import.
//! Tests in a file follow the same rule as its code.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Mechanisms without a room of their own, which import nothing and which every room may import.
const LEAVES: &[&str] = &[
    "backoff",
    "caught_panic",
    "clock",
    "error_chain",
    "mutex",
    "secret_format",
    "units",
];

/// A room, and the rooms that it may import besides itself and the leaves.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("answer", &["authz"]),
    ("authz", &[]),
    ("authorizer", &["authz", "keys"]),
    (
        "cli",
        &[
            "authorizer",
            "authz",
            "config",
            "keys",
            "manage",
            "observe",
            "redis",
            "server",
            "tls",
            "watch",
            "yaml",
        ],
    ),
    (
        "config",
        &["authz", "keys", "observe", "redis", "tls", "watch", "yaml"],
    ),
    ("envoy", &["answer", "authorizer", "authz", "observe"]),
    (
        "keys",
        &["authz", "http", "observe", "redis", "tls", "watch", "yaml"],
    ),
    ("http", &[]),
    ("manage", &["authz", "keys", "redis", "watch", "yaml"]),
    ("observe", &["authz"]),
    ("redis", &["tls", "watch"]),
    (
        "server",
        &[
            "answer",
            "authorizer",
            "authz",
            "config",
            "envoy",
            "keys",
            "observe",
            "tls",
            "watch",
            "yaml",
        ],
    ),
    ("tls", &["observe", "watch"]),
    ("watch", &[]),
    ("yaml", &[]),
];

/// The longest that a file may be, with its tests.
const FILE_MAX_LINES: usize = 400;

/// The width of comments, which rustfmt does not wrap.
const COMMENT_MAX_COLUMNS: usize = 100;

fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut pending = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    assert!(found.len() > 30, "the sources were not found");
    found
}

/// The room of a file: the first name below `src/`.
fn room(path: &Path) -> String {
    let below = path
        .strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
        .unwrap();
    let first = below.iter().next().unwrap().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

fn is_room_or_leaf(name: &str) -> bool {
    LEAVES.contains(&name) || MAY_IMPORT.iter().any(|(room, _)| *room == name)
}

/// The rooms and leaves that a text names after `crate::` (or, in `main.rs`, after `keyward::`),
/// outside comments.
fn imports(text: &str) -> BTreeSet<String> {
    let code = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let names = code.flat_map(|line| {
        line.split("crate::")
            .skip(1)
            .chain(line.split("keyward::").skip(1))
    });
    let name = |rest: &str| {
        rest.chars()
            .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
            .collect::<String>()
    };
    names
        .map(name)
        .filter(|name| is_room_or_leaf(name))
        .collect()
}

#[test]
fn every_room_imports_only_what_it_may() {
    let mut forbidden = Vec::new();
    for (path, text) in sources() {
        let room = room(&path);
        let allowed: &[&str] = match room.as_str() {
            "main" => &["cli"],
            "lib" => continue,
            leaf if LEAVES.contains(&leaf) => &[],
            _ => MAY_IMPORT
                .iter()
                .find(|(name, _)| *name == room)
                .map_or_else(
                    || panic!("{} is in no room", path.display()),
                    |(_, allowed)| *allowed,
                ),
        };
        for import in imports(&text) {
            let is_allowed = import == room
                || allowed.contains(&import.as_str())
                || (LEAVES.contains(&import.as_str()) && !LEAVES.contains(&room.as_str()));
            if !is_allowed {
                forbidden.push(format!("{} imports {import}", path.display()));
            }
        }
    }
    assert!(forbidden.is_empty(), "{forbidden:#?}");
}

#[test]
fn imports_are_found_anywhere_in_a_file() {
    let text = "use crate::authz::key;\n// crate::server is not\nlet x = crate::keys::cache::Y; use crate::yaml;";
    assert_eq!(
        imports(text),
        ["authz", "keys", "yaml"].map(str::to_owned).into()
    );
}

/// The names of the types that a text makes public, but for those that a macro names.
fn public_types(text: &str) -> impl Iterator<Item = &str> {
    let kinds = ["struct", "enum", "trait", "type"];
    text.lines().filter_map(move |line| {
        let (kind, rest) = line.trim_start().strip_prefix("pub ")?.split_once(' ')?;
        let is_name = |c: char| c.is_ascii_alphanumeric();
        let name = rest.split(|c| !is_name(c)).next()?;
        (kinds.contains(&kind) && !name.is_empty()).then_some(name)
    })
}

#[test]
fn no_two_public_types_share_a_name() {
    let sources = sources();
    let mut files = BTreeMap::new();
    for (path, text) in &sources {
        for name in public_types(text) {
            let files: &mut Vec<String> = files.entry(name).or_default();
            files.push(path.display().to_string());
        }
    }
    assert!(files.contains_key("Decision"), "no types were found");
    files.retain(|_, files| files.len() > 1);
    assert!(files.is_empty(), "{files:#?}");
}

#[test]
fn no_file_exceeds_its_limit_and_main_stays_small() {
    let mut long = Vec::new();
    for (path, text) in sources() {
        let limit = if path.ends_with("src/main.rs") {
            80
        } else {
            FILE_MAX_LINES
        };
        let lines = text.lines().count();
        if lines > limit {
            long.push(format!(
                "{} has {lines} lines, the limit is {limit}",
                path.display()
            ));
        }
    }
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn comments_have_at_most_a_hundred_columns() {
    let mut wide = Vec::new();
    for (path, text) in sources() {
        for (index, line) in text.lines().enumerate() {
            if line.trim_start().starts_with("//") && line.chars().count() > COMMENT_MAX_COLUMNS {
                wide.push(format!("{}:{}", path.display(), index + 1));
            }
        }
    }
    assert!(wide.is_empty(), "{wide:#?}");
}

#[test]
fn only_the_envoy_room_builds_messages_and_none_is_empty() {
    for (path, text) in sources() {
        let code: Vec<&str> = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect();
        let code = code.join("\n");
        // Envoy takes an empty `CheckResponse` for an allow.
        assert!(
            !code.contains("CheckResponse::default()"),
            "{}",
            path.display()
        );
        let builds = [
            "OkHttpResponse {",
            "DeniedHttpResponse {",
            "CheckResponse {",
        ]
        .iter()
        .any(|m| code.contains(m));
        let is_conversion = path.components().any(|part| part.as_os_str() == "envoy");
        assert!(
            !builds || is_conversion,
            "{} builds a wire message",
            path.display()
        );
    }
}

#[test]
fn every_module_has_a_header() {
    for (path, text) in sources() {
        let is_tests =
            path.ends_with("tests.rs") || path.components().any(|part| part.as_os_str() == "tests");
        let header = text
            .lines()
            .take_while(|line| line.starts_with("//!"))
            .count();
        assert!(
            header >= if is_tests { 1 } else { 3 },
            "{} has a header of {header} lines",
            path.display()
        );
    }
}

/// The names in backticks in the glossary of `src/lib.rs`.
fn glossary_names() -> Vec<String> {
    let all = sources();
    let (_, lib) = all
        .iter()
        .find(|(path, _)| path.ends_with("lib.rs"))
        .unwrap();
    let (_, glossary) = lib.split_once("//! # Glossary\n").expect("a glossary");
    let lines = glossary.lines().map_while(|line| line.strip_prefix("//!"));
    let text = lines.collect::<String>();
    text.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_type_in_the_glossary_exists() {
    let code: String = sources().into_iter().map(|(_, text)| text).collect();
    let names = glossary_names();
    assert!(names.len() > 20, "{names:?}");
    for name in names
        .iter()
        .filter(|name| name.starts_with(char::is_uppercase))
    {
        let is_defined = ["struct", "enum", "trait", "type"].iter().any(|kind| {
            let definition = format!("{kind} {name}");
            let mut places = code.split(&definition).skip(1);
            places.any(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
        });
        assert!(
            is_defined,
            "the glossary of src/lib.rs names `{name}`, which does not exist"
        );
    }
}
