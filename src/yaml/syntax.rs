//! Syntax errors, in words for the person who wrote the document.
//!
//! `serde_yaml` says what its parser expected; an operator wants to know the mistake. The usual
//! ones are recognised here by the parser's message; any other message is reported as it is.
//! Messages repeat nothing of the text but single marks, since it may be a secret.

use super::problem::Position;

/// A syntax error as it is reported.
pub(super) struct Explained {
    pub(super) position: Option<Position>,
    pub(super) message: String,
    pub(super) help: Option<&'static str>,
}

/// Beginnings of the parser's messages, each with what is wrong and what would be right.
const KNOWN_MISTAKES: &[(&str, &str, &str)] = &[
    (
        "did not find expected ',' or '}'",
        "a mapping in brackets neither ends here nor goes on with a comma",
        "close it with `}`, or put a comma between the members",
    ),
    (
        "did not find expected ',' or ']'",
        "a list in brackets neither ends here nor goes on with a comma",
        "close it with `]`, or put a comma between the entries",
    ),
    (
        "did not find expected '-' indicator",
        "the line is in a list and does not begin with `- `",
        "write `- ` before the entry, or indent the line as the members that it belongs to",
    ),
    (
        "did not find expected comment or line break",
        "something follows the `|` or `>` that begins text of several lines",
        "begin the text in the next line; put text that begins with `|` or `>` in quotes",
    ),
    (
        "found unexpected",
        "the text in quotes that begins here never ends",
        "close the quote, or one before it; within '…' a quote is written twice, within \"…\" as \\\"",
    ),
    (
        "found unknown escape character",
        "a backslash that YAML does not know, within \"…\"",
        "write it twice, or put the text in '…'",
    ),
    (
        "unknown anchor",
        "`*` begins an alias, and no anchor of that name comes before it",
        "put text that begins with `*` in quotes",
    ),
    (
        "did not find expected alphabetic or numeric character",
        "`*` or `&` begins an alias or an anchor, and no name follows",
        "put text that begins so in quotes",
    ),
    (
        "mapping values are not allowed in this context",
        "a `:` where no member can be",
        "indent the line as the member before it; put text that holds `: ` in quotes",
    ),
    (
        "block sequence entries are not allowed in this context",
        "a `-` where no list can be",
        "begin the list in a line of its own, below its member's name",
    ),
];

/// What the parser's error means. `text` is what it read.
pub(super) fn explain(error: &serde_yaml::Error, text: &str) -> Explained {
    let full = error.to_string();
    let (message, _) = full.split_once(" at line ").unwrap_or((&full, ""));
    let stopped = error.location().map(|location| Position {
        line: location.line(),
        column: location.column(),
    });
    // Where what the parser was reading begins.
    let begun = full.rsplit_once(" at line ").and_then(|(_, place)| {
        let (line, column) = place.split_once(" column ")?;
        let (line, column) = (line.parse().ok()?, column.parse().ok()?);
        Some(Position { line, column })
    });
    let spot = ErrorSpot::of(stopped, text);
    let is_stray = message == "found character that cannot start any token";
    if is_stray && spot.mark != Some('\t') {
        return Explained {
            position: stopped,
            message: format!("text cannot begin with {}", spot.mark.unwrap_or(' ')),
            help: Some("put it in quotes"),
        };
    }
    let (position, (message, help)) = match message {
        _ if is_stray || message.contains("tab") => (stopped, TAB),
        "did not find expected node content" => (stopped, spot.missing_entry()),
        "did not find expected key" => (stopped, spot.missing_name()),
        _ if message.starts_with("did not find expected ','") && spot.begins_line => {
            (stopped, NOT_CLOSED_BEFORE)
        }
        "could not find expected ':'" => (begun, without_name(begun, text)),
        _ => {
            let nameless = message.starts_with("mapping values");
            let nameless = nameless
                .then(|| line_without_name_before(stopped, text))
                .flatten();
            let known = KNOWN_MISTAKES
                .iter()
                .find(|(start, ..)| message.starts_with(start));
            match (nameless, known) {
                (Some(before), _) => (Some(before), without_name(Some(before), text)),
                // Of what never ends, and of an alias without a name, the beginning is at fault.
                (None, Some((start, known, help))) => {
                    let is_of_start = *start == "found unexpected" || start.contains("alphabetic");
                    let position = if is_of_start { begun } else { stopped };
                    (position, (*known, *help))
                }
                (None, None) => {
                    return Explained {
                        position: stopped,
                        message: message.to_owned(),
                        help: None,
                    };
                }
            }
        }
    };
    Explained {
        position,
        message: message.to_owned(),
        help: Some(help),
    }
}

/// What the text has where the parser stopped.
struct ErrorSpot {
    mark: Option<char>,
    /// Whether a quote is before the mark.
    follows_quote: bool,
    /// Whether only spaces are before it in its line.
    begins_line: bool,
}

impl ErrorSpot {
    fn of(position: Option<Position>, text: &str) -> Self {
        let line = position.and_then(|at| text.lines().nth(at.line.checked_sub(1)?));
        let column = position.map_or(0, |at| at.column.saturating_sub(1));
        let line = line.unwrap_or_default();
        let before: String = line.chars().take(column).collect();
        Self {
            mark: line.chars().nth(column),
            follows_quote: before.ends_with(['"', '\'']),
            begins_line: before.trim().is_empty(),
        }
    }

    /// What is wrong where an entry of a list or mapping in brackets should be.
    fn missing_entry(&self) -> (&'static str, &'static str) {
        match self.mark {
            Some(',') => (
                "an entry is missing before this comma",
                "write the entry, or take the comma away",
            ),
            Some(']' | '}') => (
                "this bracket does not fit the one that is open",
                "close `[` with `]` and `{` with `}`",
            ),
            None => (
                "a list or mapping in brackets is not closed",
                "close it with the bracket that fits",
            ),
            Some(_) => (
                "a list or mapping in brackets is not closed, or an entry is missing",
                "close the bracket, or write the entry",
            ),
        }
    }

    /// What is wrong where the next member of a mapping should begin.
    fn missing_name(&self) -> (&'static str, &'static str) {
        if matches!(self.mark, Some(']' | '}')) {
            return (
                "this bracket closes none that is open",
                "take it away, or put text that holds brackets in quotes",
            );
        }
        if self.follows_quote {
            return (
                "something follows the text in quotes",
                "put all of it in the quotes; within them a quote is written \\\"",
            );
        }
        (
            "the line is neither on a level with the members before it nor within one of them",
            "indent it as the members that it belongs to",
        )
    }
}

const TAB: (&str, &str) = (
    "a tab in the indentation",
    "YAML is indented with spaces: replace the tab",
);

const NOT_CLOSED_BEFORE: (&str, &str) = (
    "a list or mapping in brackets is not closed before this line",
    "close the bracket, or put a comma before the line and indent it",
);

/// The problem of a line that should be a member and has no `: `.
fn without_name(start: Option<Position>, text: &str) -> (&'static str, &'static str) {
    let help = if ErrorSpot::of(start, text).mark == Some('-') {
        "write an entry of a list as `- entry`, with a space after the `-`"
    } else {
        "write `name: value`, with a space after the colon"
    };
    ("no `: ` follows a name in this line", help)
}

/// Where the line before begins, if it has no name and the line at hand has one alone: the parser
/// takes both for one text then, and stumbles over the colon of the second.
fn line_without_name_before(position: Option<Position>, text: &str) -> Option<Position> {
    let has_name = |line: &str| line.contains(": ") || line.trim_end().ends_with(':');
    let Position { line, column } = position?;
    let lines: Vec<&str> = text.lines().take(line).collect();
    let (at_hand, lines) = lines.split_last()?;
    let before_colon: String = at_hand.chars().take(column.checked_sub(1)?).collect();
    let is_member = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    let index = lines.iter().rposition(|line| is_member(line))?;
    let before = lines.get(index)?;
    if has_name(before) || has_name(&before_colon) {
        return None;
    }
    let indent = before
        .chars()
        .take_while(|c| matches!(c, ' ' | '-'))
        .count();
    Some(Position {
        line: index + 1,
        column: indent + 1,
    })
}
