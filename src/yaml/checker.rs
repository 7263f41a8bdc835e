//! Collects what is wrong with a document's values.
//!
//! Where the shape of some was wrong, the values checked are not all the file's; what is said about the others is dropped here.
//! A [`Checker`] is the basket, a [`Place`] knows where one is. A place costs no allocation, so 100 000 keys
//! can be checked with one each; only a problem pays for its path and for finding its line.

use std::cell::{Cell, RefCell};

use super::Source;
use super::problem::{MAX_PROBLEMS, Problem, Problems, Segment, YamlPath};
use super::shape::Doubts;

/// The basket of problems of one document.
pub struct Checker<'s, 't> {
    source: &'s Source<'t>,
    doubts: Option<Doubts>,
    found: RefCell<Vec<Found>>,
    warned: RefCell<Vec<Found>>,
    omitted: Cell<usize>,
    /// How many were told of values that are not the file's.
    unfounded: Cell<usize>,
}

/// Something that was noted, before its line is known.
struct Found {
    path: YamlPath,
    /// It is about the member's name.
    of_name: bool,
    message: String,
    help: Option<String>,
}

/// A place in the document being checked.
#[derive(Clone, Copy)]
pub struct Place<'c> {
    sink: &'c dyn Sink,
    parent: Option<&'c Place<'c>>,
    step: Step<'c>,
}

#[derive(Clone, Copy)]
enum Step<'c> {
    Top,
    Field(&'c str),
    Index(usize),
}

trait Sink {
    fn put(&self, found: Found);
    fn warn(&self, found: Found);
    fn written(&self, path: &YamlPath) -> Option<String>;
    fn has_integer_as(&self, place: &Place<'_>, decimal: &str) -> bool;
    fn count(&self) -> usize;
    fn is_known(&self, place: &Place<'_>) -> bool;
}

// === impl Checker ===

impl<'s, 't> Checker<'s, 't> {
    pub(super) fn new(source: &'s Source<'t>, doubts: Option<Doubts>) -> Self {
        Self {
            source,
            doubts,
            found: RefCell::default(),
            warned: RefCell::default(),
            omitted: Cell::new(0),
            unfounded: Cell::new(0),
        }
    }

    /// The document itself.
    pub fn top(&self) -> Place<'_> {
        Place {
            sink: self,
            parent: None,
            step: Step::Top,
        }
    }

    /// All that was found, with lines and columns.
    ///
    /// # Errors
    /// The problems, when there was one.
    pub fn finish(self) -> Result<(), Problems> {
        self.finish_with(Vec::new(), 0)
    }

    /// What was warned of so far, with lines and columns, in the order of the file.
    pub(super) fn warnings(&self) -> Vec<Problem> {
        let warned = self.warned.take().into_iter();
        let mut warnings: Vec<Problem> = warned.map(|found| found.located(self.source)).collect();
        warnings.sort_by_key(|warning| warning.position);
        warnings
    }

    /// As [`Self::finish`], with what was found before.
    pub(super) fn finish_with(
        self,
        mut problems: Vec<Problem>,
        omitted: usize,
    ) -> Result<(), Problems> {
        let found = self.found.into_inner().into_iter();
        problems.extend(found.map(|found| found.located(self.source)));
        match Problems::sorted(problems, self.omitted.get() + omitted) {
            Some(problems) => Err(problems),
            None => Ok(()),
        }
    }
}

impl Sink for Checker<'_, '_> {
    fn put(&self, new: Found) {
        if self.found.borrow().len() >= MAX_PROBLEMS {
            self.omitted.set(self.omitted.get() + 1);
            return;
        }
        if let (Some(doubts), Some(tree)) = (&self.doubts, self.source.tree())
            && doubts.is_doubtful(tree, &new.path)
        {
            self.unfounded.set(self.unfounded.get() + 1);
            return;
        }
        self.found.borrow_mut().push(new);
    }

    fn warn(&self, warning: Found) {
        self.warned.borrow_mut().push(warning);
    }

    fn written(&self, path: &YamlPath) -> Option<String> {
        self.source.written(path).map(str::to_owned)
    }

    fn has_integer_as(&self, place: &Place<'_>, decimal: &str) -> bool {
        self.source.has_integer_as(|| place.path(), decimal)
    }

    fn count(&self) -> usize {
        self.found.borrow().len() + self.omitted.get() + self.unfounded.get()
    }

    fn is_known(&self, place: &Place<'_>) -> bool {
        match (&self.doubts, self.source.tree()) {
            (Some(doubts), Some(tree)) => doubts.is_known(tree, &place.path()),
            (None, _) | (_, None) => true,
        }
    }
}

// === impl Found ===

impl Found {
    fn located(self, source: &Source<'_>) -> Problem {
        Problem {
            file: source.file(),
            position: if self.of_name {
                source.locate_name(&self.path)
            } else {
                source.locate(&self.path)
            },
            path: self.path,
            message: self.message,
            help: self.help,
        }
    }
}

// === impl Place ===

impl Place<'_> {
    /// A member of the mapping that is here.
    pub fn field<'p>(&'p self, name: &'p str) -> Place<'p> {
        self.step(Step::Field(name))
    }

    /// An element of the list that is here, from 0.
    pub fn index(&self, index: usize) -> Place<'_> {
        self.step(Step::Index(index))
    }

    /// Notes that what is here is wrong. The message must not repeat a value that may be a secret.
    pub fn problem(&self, message: impl Into<String>) {
        self.sink.put(self.found(message.into(), None));
    }

    /// As [`Place::problem`], and says what would be right.
    pub fn problem_with_help(&self, message: impl Into<String>, help: impl Into<String>) {
        self.sink.put(self.found(message.into(), Some(help.into())));
    }

    /// Notes that the name of the member that is here is wrong, as [`Place::problem_with_help`] does of its value.
    pub fn name_problem(&self, message: impl Into<String>, help: Option<&str>) {
        self.sink.put(Found {
            of_name: true,
            ..self.found(message.into(), help.map(str::to_owned))
        });
    }

    /// Notes that what is here may be used, and is likely not what is wanted; says what to do about it. Never of a value that
    /// may be a secret.
    pub fn warning(&self, message: impl Into<String>, help: impl Into<String>) {
        self.sink
            .warn(self.found(message.into(), Some(help.into())));
    }

    /// What the file has here, where the value came from the environment, so that it is not to be told.
    pub fn written(&self) -> Option<String> {
        self.sink.written(&self.path())
    }

    /// Whether the integer that is here is written just like that, in decimal. What was read tells its value alone, which `0x1F`
    /// and `+31` have too.
    pub fn has_integer_as(&self, decimal: &str) -> bool {
        self.sink.has_integer_as(self, decimal)
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

    /// As [`Place::note`], of the name of the member that is here.
    pub fn note_name<T, E: std::error::Error>(&self, result: Result<T, E>) -> Option<T> {
        result
            .map_err(|error| self.name_problem(chain(&error), None))
            .ok()
    }

    /// Whether what is here is all that the file has here. If it is not, for the shape of something was wrong, then a problem here is
    /// dropped anyway; ask before comparing this with what is elsewhere, and before telling that something is absent.
    pub fn is_known(&self) -> bool {
        self.sink.is_known(self)
    }

    /// How many problems were noted so far, anywhere in the document: equal before and after means that nothing was.
    pub fn problems_so_far(&self) -> usize {
        self.sink.count()
    }

    fn step<'p>(&'p self, step: Step<'p>) -> Place<'p> {
        Place {
            sink: self.sink,
            parent: Some(self),
            step,
        }
    }

    fn found(&self, message: String, help: Option<String>) -> Found {
        Found {
            path: self.path(),
            of_name: false,
            message,
            help,
        }
    }

    fn path(&self) -> YamlPath {
        let mut segments = Vec::new();
        let mut place = Some(self);
        while let Some(here) = place {
            match here.step {
                Step::Top => {}
                Step::Field(name) => segments.push(Segment::Field(name.to_owned())),
                Step::Index(index) => segments.push(Segment::Index(index)),
            }
            place = here.parent;
        }
        segments.reverse();
        YamlPath(segments)
    }
}

/// An error with its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
