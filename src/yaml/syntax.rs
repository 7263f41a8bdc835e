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
    let (known, help) = match message {
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
