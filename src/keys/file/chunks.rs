//! Cuts the text of a keys file into chunks of some keys each, where its layout allows.
//!
//! `serde_yaml` holds all events of a document before it reads the first: some 300 MiB for 100 000
//! keys, in a sidecar that is to need 60. The plain layout is `keys:` and below it a list whose
//! dashes are in one column. There a chunk that begins at a dash and parses as a list means the
//! same alone as in the whole file: an open quote or bracket is a syntax error in the chunk, and
//! the caller then reads the whole file.

/// A piece of the text: items of the list, whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chunk<'t> {
    /// The items, each beginning with its dash.
    pub text: &'t str,
    /// The number of lines in front of it.
    pub lines_before: usize,
    /// The number of items in front of it.
    pub items_before: usize,
    /// How many items it has.
    pub items: usize,
}

/// The list of a text in the plain layout.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PlainList<'t> {
    /// The column of the dashes, from 0.
    pub indent: usize,
    /// Its items, in chunks.
    pub chunks: Vec<Chunk<'t>>,
}

/// What a line is to the layout.
enum Line {
    /// Blank, or a comment.
    Nothing,
    /// A dash in this column, and something or nothing behind it.
    Item(usize),
    /// Anything else, which begins in this column.
    Other(usize),
}

fn classify(line: &str) -> Line {
    let rest = line.trim_start_matches(' ');
    let indent = line.len() - rest.len();
    let rest = rest.trim_end_matches(['\n', '\r']);
    if rest.is_empty() || rest.starts_with('#') {
        Line::Nothing
    } else if rest == "-" || rest.starts_with("- ") {
        Line::Item(indent)
    } else {
        Line::Other(indent)
    }
}

/// Whether the line is `keys:` with nothing but a comment behind it.
fn opens_list(line: &str) -> bool {
    line.strip_prefix("keys:").is_some_and(|rest| {
        let value = rest.trim_start_matches(' ');
        value.trim().is_empty() || (value.len() < rest.len() && value.starts_with('#'))
    })
}

/// The list of `text` in chunks of about `target` bytes; `None` if the layout is another one.
pub(crate) fn plain_list(text: &str, target: usize) -> Option<PlainList<'_>> {
    let mut lines = text.split_inclusive('\n').scan(0, |offset, line| {
        let start = *offset;
        *offset += line.len();
        Some((start, line))
    });
    let mut lines_before = 0;
    let mut opened = false;
    let (indent, mut start) = loop {
        let (offset, line) = lines.next()?;
        match classify(line) {
            Line::Nothing => {}
            Line::Item(indent) if opened => break (indent, offset),
            Line::Other(0) if !opened && line.trim_end() == "---" && lines_before == 0 => {}
            Line::Other(0) if !opened && opens_list(line) => opened = true,
            Line::Item(_) | Line::Other(_) => return None,
        }
        lines_before += 1;
    };
    let mut chunks = Vec::new();
    let (mut items_before, mut items, mut line_count) = (0, 1, 1);
    for (offset, line) in lines {
        match classify(line) {
            Line::Nothing => {}
            Line::Item(column) if column == indent => {
                if offset - start >= target {
                    chunks.push(Chunk {
                        text: text.get(start..offset)?,
                        lines_before,
                        items_before,
                        items,
                    });
                    lines_before += line_count;
                    items_before += items;
                    (start, items, line_count) = (offset, 0, 0);
                }
                items += 1;
            }
            Line::Item(column) | Line::Other(column) if column > indent => {}
            Line::Item(_) | Line::Other(_) => return None,
        }
        line_count += 1;
    }
    chunks.push(Chunk {
        text: text.get(start..)?,
        lines_before,
        items_before,
        items,
    });
    Some(PlainList { indent, chunks })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_list_is_cut_at_its_dashes() {
        let text = "# head\nkeys: # all\n\n  - id: a\n    x: [\n      - ]\n  # note\n  - id: b\n  -\n    id: c\n# end\n";
        let list = plain_list(text, 1).unwrap();
        assert_eq!(list.indent, 2);
        let seen: Vec<_> = list
            .chunks
            .iter()
            .map(|c| (c.lines_before, c.items_before, c.items, c.text))
            .collect();
        assert_eq!(
            seen,
            [
                (3, 0, 1, "  - id: a\n    x: [\n      - ]\n  # note\n"),
                (7, 1, 1, "  - id: b\n"),
                (8, 2, 1, "  -\n    id: c\n# end\n"),
            ]
        );
        assert_eq!(plain_list(text, 1000).unwrap().chunks.len(), 1);
    }

    #[test]
    fn any_other_layout_is_left_whole() {
        for text in [
            "",
            "keys: []\n",
            "keys:\n",
            "keys: [a]\n",
            "{keys: [a]}\n",
            "a: 1\nkeys:\n- a\n",
            "keys:\n- a\nb: 1\n",
            "keys:\n  - a\n - b\n",
            "keys:\n- a\n---\nkeys:\n- b\n",
            "keys:\n- a\n...\n",
            "%YAML 1.2\n---\nkeys:\n- a\n",
            "keys: &a\n- a\n",
            "keys: |\n- a\n",
            "keys:#\n- a\n",
            "keys:\n\t- a\n",
            "'keys':\n- a\n",
            " keys:\n - a\n",
        ] {
            assert_eq!(plain_list(text, 1), None, "{text}");
        }
        for text in ["keys:\n- a", "---\nkeys:\r\n- a\r\n-\r\n", "keys: \n-  a\n"] {
            assert!(plain_list(text, 1).is_some(), "{text}");
        }
    }
}
