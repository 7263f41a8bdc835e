//! What is wrong with a document's syntax, in words for whoever wrote it.
//!
//! The parser tells what it expected; an operator wants to know which slip that comes of. The usual ones are recognised here by
//! the parser's message and the text around; for all else its message stands. Nothing of the text is repeated but single marks.

use super::problem::Position;

/// A syntax error as it is told.
pub(super) struct Explained {
    pub(super) position: Position,
    pub(super) message: String,
    pub(super) help: Option<&'static str>,
}

/// What the parser's message at that position of the text means. `text` is as the file has it.
pub(super) fn explain(message: &str, position: Position, text: &str) -> Explained {
    let at = |position, message: &str, help| Explained {
        position,
        message: message.to_owned(),
        help,
    };
    if let Some(position) = tab_in_indentation(message, position, text) {
        let help = Some("YAML is indented with spaces: replace the tab");
        return at(position, "a tab in the indentation", help);
    }
    if let Some((position, help)) = line_without_name(message, position, text) {
        return at(position, "no `: ` follows a name in this line", Some(help));
    }
    if message == "while parsing a node, did not find expected node content" {
        let (known, help) = missing_entry(mark_at(position, text));
        return at(position, known, Some(help));
    }
    let (known, help) = match message {
        "while parsing a flow mapping, did not find expected ',' or '}'" => (
            "a mapping in brackets neither ends here nor goes on with a comma",
            "close it with `}`, or put a comma between the members",
        ),
        "while parsing a flow sequence, expected ',' or ']'" => (
            "a list in brackets neither ends here nor goes on with a comma",
            "close it with `]`, or put a comma between the entries",
        ),
        // Outside of brackets the parser has other words for a line that is not far enough right.
        "invalid indentation"
        | "invalid indentation in flow construct"
        | "illegal placement of ':' indicator" => (
            "a list or mapping in brackets is not closed before this line",
            "close the bracket, or put a comma before the line and indent it",
        ),
        "invalid indentation for anchor" => (
            "an anchor stands too far left",
            "move the line further right than what it belongs to",
        ),
        "misplaced bracket" => (
            "this bracket closes none that is open",
            "take it away, or put text that holds brackets in quotes",
        ),
        "while parsing a block collection, did not find expected '-' indicator" => (
            "the line is in a list and does not begin with `- `",
            "write `- ` before the entry, or indent the line as the members that it belongs to",
        ),
        "while scanning a block scalar, did not find expected comment or line break" => (
            "something follows the `|` or `>` that begins text of several lines",
            "begin the text in the next line; put text that begins with `|` or `>` in quotes",
        ),
        "invalid indentation in quoted scalar" => (
            "the text in quotes that begins here does not end in its line",
            "close the quote, or indent the lines that the text goes on in",
        ),
        "while scanning a quoted scalar, found unexpected end of stream"
        | "while scanning a quoted scalar, found unexpected document indicator" => (
            "the text in quotes that begins here never ends",
            "close the quote; within '…' a quote is written twice, within \"…\" as \\\"",
        ),
        "invalid trailing content after double-quoted scalar" => (
            "something follows the text in quotes",
            "put all of it in the quotes; within them a quote is written \\\"",
        ),
        "while parsing a quoted scalar, found unknown escape character" => (
            "a backslash that YAML does not know, within \"…\"",
            "write it twice, or put the text in '…'",
        ),
        "while parsing node, found unknown anchor" => (
            "`*` begins an alias, and no anchor of that name comes before it",
            "put text that begins with `*` in quotes",
        ),
        "while scanning an anchor or alias, did not find expected alphabetic or numeric character" => {
            (
                "`*` or `&` begins an alias or an anchor, and no name follows",
                "put text that begins so in quotes",
            )
        }
        "mapping values are not allowed in this context" => (
            "a `:` where no member can be",
            "indent the line as the member before it; put text that holds `: ` in quotes",
        ),
        "while parsing a block mapping, did not find expected key" => (
            "the line is neither on a level with the members before it nor within one of them",
            "indent it as the members that it belongs to",
        ),
        "block sequence entries are not allowed in this context" => (
            "a `-` where no list can be",
            "begin the list in a line of its own, below its member's name",
        ),
        _ => {
            // Only `@` and the backquote, which YAML has reserved, come that way.
            let mark = message.strip_prefix("unexpected character: `");
            return match mark.and_then(|rest| rest.strip_suffix('\'')) {
                Some(mark) => {
                    let message = format!("text cannot begin with {mark}");
                    at(position, &message, Some("put it in quotes"))
                }
                None => at(position, message, None),
            };
        }
    };
    at(position, known, Some(help))
}

/// The tab that the parser stumbled over, where it stands in front of a line.
fn tab_in_indentation(message: &str, position: Position, text: &str) -> Option<Position> {
    const LOOKED_AT: usize = 2;
    let may_be = message.contains("tab")
        || message == "':' must be followed by a valid YAML whitespace"
        || message == "while parsing a block mapping, did not find expected key";
    if !may_be {
        return None;
    }
    let lines = text.lines().enumerate().skip(position.line.checked_sub(1)?);
    lines.take(LOOKED_AT).find_map(|(index, line)| {
        let column = line.chars().take_while(|c| *c == ' ').count();
        line.chars().nth(column).filter(|c| *c == '\t')?;
        Some(Position {
            line: index + 1,
            column: column + 1,
        })
    })
}

/// The line that should be a member and has no `: `, and what to write; the parser stumbles over what comes after it.
fn line_without_name(
    message: &str,
    position: Position,
    text: &str,
) -> Option<(Position, &'static str)> {
    let may_be_first = match message {
        "simple key expect ':'" | "simple key expected" => false,
        "mapping values are not allowed in this context" => true,
        _ => return None,
    };
    let before = position.line.checked_sub(1)?;
    let lines: Vec<&str> = text.lines().take(position.line).collect();
    let (index, line) =
        lines.iter().enumerate().take(before).rfind(|(_, line)| {
            !line.trim_start().is_empty() && !line.trim_start().starts_with('#')
        })?;
    let column = line.chars().take_while(|c| matches!(c, ' ')).count();
    let mut rest = line.trim_start();
    let mut dashes = 0;
    while let Some(entry) = rest.strip_prefix("- ") {
        dashes += rest.len() - entry.trim_start().len();
        rest = entry.trim_start();
    }
    if may_be_first {
        // The line before is at fault where it has no name, and the line at hand has one alone.
        let at_hand: String = lines.get(before)?.chars().take(position.column).collect();
        let at_hand = at_hand.trim_end_matches(':');
        if has_name(rest) || has_name(at_hand) {
            return None;
        }
    }
    let position = Position {
        line: index + 1,
        column: column + dashes + 1,
    };
    let help = if rest.starts_with('-') {
        "write an entry of a list as `- entry`, with a space after the `-`"
    } else {
        "write `name: value`, with a space after the colon"
    };
    Some((position, help))
}

/// Whether a name and its `:` stand in the line.
fn has_name(line: &str) -> bool {
    line.contains(": ") || line.trim_end().ends_with(':')
}

/// What is wrong where an entry of a list or mapping in brackets should be, and that mark is.
fn missing_entry(mark: Option<char>) -> (&'static str, &'static str) {
    match mark {
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

fn mark_at(position: Position, text: &str) -> Option<char> {
    let line = text.lines().nth(position.line.checked_sub(1)?)?;
    line.chars().nth(position.column.checked_sub(1)?)
}
