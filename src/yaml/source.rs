//! The text of a document, or of some items of its list, and the positions of its fields.
//!
//! The tree with positions is built when the first position is asked for: a document without
//! problems needs none.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use serde::de::IgnoredAny;

use super::problem::{Position, Problem, Problems, Segment, YamlPath};
use super::substitute::Environment;
use super::syntax;
use super::tree::{self, Tree, Unreadable};

/// The text of a document, for finding lines and columns when something in it is wrong.
pub struct Source<'t> {
    file: Arc<Path>,
    pub(super) text: &'t str,
    part: Option<Part>,
    tree: OnceLock<Option<Tree>>,
}

/// The place of a part in the whole document.
struct Part {
    /// The member whose list the part's items belong to.
    list: &'static str,
    items_before: usize,
    lines_before: usize,
}

impl<'t> Source<'t> {
    /// The document in `text`, whatever it looks like.
    pub fn new(file: &Path, text: &'t str) -> Self {
        Self {
            file: Arc::from(file),
            text: text.strip_prefix('\u{feff}').unwrap_or(text),
            part: None,
            tree: OnceLock::new(),
        }
    }

    /// Some items of the list in the member `list`, cut out of a document: so many items and lines
    /// stand before them.
    pub fn part(
        file: &Path,
        text: &'t str,
        list: &'static str,
        items_before: usize,
        lines_before: usize,
    ) -> Self {
        Self {
            part: Some(Part {
                list,
                items_before,
                lines_before,
            }),
            ..Self::new(file, text)
        }
    }

    /// A document in JSON without a file, whose fields have no lines.
    pub(super) fn of_json(tree: Option<Tree>) -> Self {
        Self {
            tree: OnceLock::from(tree),
            ..Self::new(Path::new("record"), "")
        }
    }

    /// Where the value at `path` begins, or the nearest one around it that the document has.
    pub fn locate(&self, path: &YamlPath) -> Option<Position> {
        self.locate_in(path, false)
            .map(|position| self.in_whole(position))
    }

    /// How many items the list has that is the whole text; 0 if it is none.
    pub fn items(&self) -> usize {
        match self.tree().map(|tree| &tree.root.content) {
            Some(tree::Content::List(items)) => items.len(),
            _ => 0,
        }
    }

    /// As [`Self::locate`], with the lines of this text; of the member's name if that is asked for.
    pub(super) fn locate_in(&self, path: &YamlPath, of_name: bool) -> Option<Position> {
        self.tree()?.locate(path, of_name)
    }

    /// The problem at that path and position of this text, as it is in the whole document.
    pub(super) fn problem(
        &self,
        mut path: YamlPath,
        position: Option<Position>,
        message: String,
        help: Option<String>,
    ) -> Problem {
        if let (Some(part), Some(Segment::Index(index))) = (&self.part, path.0.first_mut()) {
            *index += part.items_before;
            path.0.insert(0, Segment::Field(part.list.to_owned()));
        }
        Problem {
            file: Arc::clone(&self.file),
            position: position.map(|position| self.in_whole(position)),
            path,
            message,
            help,
        }
    }

    /// A problem with the document as a whole.
    pub(super) fn problem_alone(&self, message: &str, help: Option<&str>) -> Problems {
        let help = help.map(str::to_owned);
        Problems::from(self.problem(YamlPath::default(), None, message.to_owned(), help))
    }

    /// The document as a tree, with references in it replaced from `env`.
    ///
    /// # Errors
    /// What keeps it from being read at all: a syntax error, no document or several, or too deep a
    /// nesting.
    pub(super) fn read_tree(&self, env: Option<&Environment<'_>>) -> Result<&Tree, Problems> {
        let unreadable = |unreadable: Unreadable| {
            let Unreadable {
                path,
                position,
                message,
                help,
                ..
            } = unreadable;
            Problems::from(self.problem(path, position, message, help.map(str::to_owned)))
        };
        if may_nest_deep(self.text) {
            // `serde_yaml` takes time by the square of the depth; the tree counts as it goes.
            if let Err(problem) = tree::read(self.text, None)
                && problem.is_final
            {
                return Err(unreadable(problem));
            }
        }
        self.check_syntax(env.is_some())?;
        let tree = tree::read(self.text, env).map_err(unreadable)?;
        self.tree
            .get_or_init(|| Some(tree))
            .as_ref()
            .ok_or_else(|| self.problem_alone("the file cannot be used", None))
    }

    /// Refuses what is no YAML. The tree's parser is not asked: it takes the syntax for right.
    fn check_syntax(&self, has_references: bool) -> Result<(), Problems> {
        let Err(error) = serde_yaml::from_str::<IgnoredAny>(self.text) else {
            return Ok(());
        };
        if error.location().is_none() && error.to_string().contains("more than one document") {
            // The tree reports where the second one begins.
            return Ok(());
        }
        let explained = syntax::explain(&error, self.text);
        let line = explained.position.and_then(|position| {
            let mut lines = self.text.lines();
            lines.nth(position.line.checked_sub(1)?)
        });
        let mut help = explained.help;
        if has_references && line.is_some_and(|line| line.contains("${")) {
            // The brace of a reference without quotes is taken for one that opens a mapping.
            if help.is_none() || explained.message.contains("bracket") {
                help = Some("within brackets put ${NAME} in quotes");
            }
        }
        let help = help.map(str::to_owned);
        let problem = self.problem(
            YamlPath::default(),
            explained.position,
            explained.message,
            help,
        );
        Err(problem.into())
    }

    /// Refuses a text without a document.
    pub(super) fn refuse_empty(&self) -> Result<(), Problems> {
        if super::is_empty(self.text) {
            let help = Some("write {} for an empty mapping");
            return Err(self.problem_alone("the file is empty", help));
        }
        Ok(())
    }

    /// The document with positions, unless it cannot be read.
    fn tree(&self) -> Option<&Tree> {
        let read = || tree::read(self.text, None).ok();
        self.tree.get_or_init(read).as_ref()
    }

    /// Where a position of this text is in the whole document.
    pub(super) fn in_whole(&self, position: Position) -> Position {
        let before = self.part.as_ref().map_or(0, |part| part.lines_before);
        Position {
            line: position.line + before,
            ..position
        }
    }
}

impl std::fmt::Debug for Source<'_> {
    /// The file's name and not its text, which may hold what was never meant to be printed.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Source").field(&self.file).finish()
    }
}

/// Whether brackets may nest deeper than anyone means.
///
/// Brackets in strings count too: a false alarm costs one more reading.
pub(super) fn may_nest_deep(text: &str) -> bool {
    const SUSPICIOUS_DEPTH: usize = 1000;
    let mut depth = 0_usize;
    text.bytes().any(|byte| {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth > SUSPICIOUS_DEPTH
    })
}
