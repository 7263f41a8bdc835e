//! Collects what is wrong with a document, and says where.
//!
//! A [`Checker`] is the list of problems of one document, a [`FieldPath`] says which field one is
//! at. A path costs no allocation, so that 100 000 keys can be checked with one each; only a
//! problem pays for its path and for finding its line.

use std::cell::{Cell, RefCell};

use super::problem::{MAX_PROBLEMS, Position, Problem, Problems, Segment, YamlPath};
use super::source::Source;
use crate::error_chain::chain;

/// The problems and warnings of one document.
#[derive(Default)]
pub struct Checker {
    found: RefCell<Vec<Found>>,
    warned: RefCell<Vec<Found>>,
    /// The fields whose values came from the environment, and what the file has there.
    substituted: Vec<(YamlPath, String)>,
    omitted: Cell<usize>,
}

/// A problem or warning, before its line is known.
struct Found {
    path: YamlPath,
    site: Site,
    message: String,
    help: Option<String>,
}

/// What of the field at a path a problem is about.
enum Site {
    Value,
    Name,
    /// A member that has no path of its own.
    At(Option<Position>),
    /// Another member of the name that the first one has.
    Repeated {
        here: Option<Position>,
        first: Option<Position>,
    },
}

/// The path of a field in the document that is checked, at which problems are noted.
#[derive(Clone, Copy)]
pub struct FieldPath<'c> {
    checker: &'c Checker,
    parent: Option<&'c FieldPath<'c>>,
    step: Step<'c>,
    of_name: bool,
}

#[derive(Clone, Copy)]
enum Step<'c> {
    Top,
    Field(&'c str),
    Index(usize),
}

// === impl Checker ===

impl Checker {
    /// Without problems. `substituted` are the fields whose values came from the environment.
    pub(super) fn new(substituted: Vec<(YamlPath, String)>) -> Self {
        Self {
            substituted,
            ..Self::default()
        }
    }

    /// The document itself.
    pub fn top(&self) -> FieldPath<'_> {
        FieldPath {
            checker: self,
            parent: None,
            step: Step::Top,
            of_name: false,
        }
    }

    /// The warnings so far, with lines and columns, in the order of the file.
    pub(super) fn warnings(&self, source: &Source<'_>) -> Vec<Problem> {
        let warned = self.warned.take().into_iter();
        let mut warnings: Vec<Problem> = warned.map(|found| found.located(source)).collect();
        warnings.sort_by_key(|warning| warning.position);
        warnings
    }

    /// The fields whose values came from the environment, where nothing is wrong.
    ///
    /// # Errors
    /// All the problems, with lines and columns, when there was one.
    pub fn finish(self, source: &Source<'_>) -> Result<Vec<(YamlPath, String)>, Problems> {
        let found = self.found.into_inner().into_iter();
        let problems = found.map(|found| found.located(source)).collect();
        match Problems::sorted(problems, self.omitted.get()) {
            Some(problems) => Err(problems),
            None => Ok(self.substituted),
        }
    }

    fn put(&self, new: Found) {
        if self.found.borrow().len() >= MAX_PROBLEMS {
            self.omitted.set(self.omitted.get() + 1);
        } else {
            self.found.borrow_mut().push(new);
        }
    }
}

impl Found {
    fn located(mut self, source: &Source<'_>) -> Problem {
        let position = match self.site {
            Site::Repeated { here, first } => {
                let line = first.map(|first| source.in_whole(first).line);
                let line = line.map(|line| format!("it is already in line {line}; "));
                self.help = Some(format!("{}keep one", line.unwrap_or_default()));
                here
            }
            Site::Value => source.locate_in(&self.path, false),
            Site::Name => source.locate_in(&self.path, true),
            Site::At(position) => position,
        };
        source.problem(self.path, position, self.message, self.help)
    }
}

// === impl FieldPath ===

impl FieldPath<'_> {
    /// A member of the mapping that is here.
    pub fn field<'p>(&'p self, name: &'p str) -> FieldPath<'p> {
        self.step(Step::Field(name))
    }

    /// An element of the list that is here, from 0.
    pub fn index(&self, index: usize) -> FieldPath<'_> {
        self.step(Step::Index(index))
    }

    /// The name of the member that is here: for problems with it and not with its value.
    #[must_use]
    pub fn name(self) -> Self {
        Self {
            of_name: true,
            ..self
        }
    }

    /// Notes that what is here is wrong. The message must not repeat a value that may be a secret.
    pub fn problem(&self, message: impl Into<String>) {
        self.checker.put(self.found(message.into(), None));
    }

    /// As [`Self::problem`], and says what would be right.
    pub fn problem_with_help(&self, message: impl Into<String>, help: impl Into<String>) {
        self.checker
            .put(self.found(message.into(), Some(help.into())));
    }

    /// As [`Self::problem_with_help`], of something that has no path of its own.
    pub(super) fn problem_at(&self, position: Option<Position>, message: &str, help: &str) {
        self.checker.put(Found {
            site: Site::At(position),
            ..self.found(message.to_owned(), Some(help.to_owned()))
        });
    }

    /// Notes that the member that is here is there once more.
    pub(super) fn repeated(
        &self,
        here: Option<Position>,
        first: Option<Position>,
        message: String,
    ) {
        self.checker.put(Found {
            site: Site::Repeated { here, first },
            ..self.found(message, None)
        });
    }

    /// Notes that what is here may be used, and is likely not what is wanted; says what to do about
    /// it. Never of a value that may be a secret.
    pub fn warning(&self, message: impl Into<String>, help: impl Into<String>) {
        let warning = self.found(message.into(), Some(help.into()));
        self.checker.warned.borrow_mut().push(warning);
    }

    /// What the file has here, where the value came from the environment and so must not be shown.
    pub fn written(&self) -> Option<String> {
        let path = self.path();
        let mut substituted = self.checker.substituted.iter();
        substituted
            .find(|(other, _)| *other == path)
            .map(|(_, text)| text.clone())
    }

    /// The value of a conversion, or `None` with its error noted here.
    pub fn note<T, E: std::error::Error>(&self, result: Result<T, E>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.problem(chain(&error));
                None
            }
        }
    }

    /// How many problems were noted so far, anywhere in the document: equal before and after means
    /// that there was none between.
    pub fn problems_so_far(&self) -> usize {
        self.checker.found.borrow().len() + self.checker.omitted.get()
    }

    /// The path from the top.
    pub(super) fn path(&self) -> YamlPath {
        let mut segments = Vec::new();
        let mut field = Some(self);
        while let Some(here) = field {
            match here.step {
                Step::Top => {}
                Step::Field(name) => segments.push(Segment::Field(name.to_owned())),
                Step::Index(index) => segments.push(Segment::Index(index)),
            }
            field = here.parent;
        }
        segments.reverse();
        YamlPath(segments)
    }

    fn step<'p>(&'p self, step: Step<'p>) -> FieldPath<'p> {
        FieldPath {
            checker: self.checker,
            parent: Some(self),
            step,
            of_name: false,
        }
    }

    fn found(&self, message: String, help: Option<String>) -> Found {
        Found {
            path: self.path(),
            site: if self.of_name {
                Site::Name
            } else {
                Site::Value
            },
            message,
            help,
        }
    }
}
