//! Finds all that is wrong with a document's shape.
//!
//! serde stops at the first error, so the tree is read over and over: what was wrong is noted and left out
//! next time, a missing member is noted and filled in, until the rest passes. List elements that passed are
//! not read again, so a list of 100 000 with a hundred errors takes the time of a few readings and not of a
//! hundred. One more reading, of everything, then gives a value in spite of it all, with [`Doubts`] that know
//! what in it is not the file's; a value without doubts comes from a first reading without any error.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use serde::de::DeserializeOwned;

use super::problem::MAX_PROBLEMS;
use super::tree::{Flaw, Tree, visit_budget};
pub(super) use doubts::Doubts;
use fault::{Fault, Kind, Site};
use reader::Reader;

mod access;
mod doubts;
mod fault;
mod filler;
mod reader;
mod trail;

/// What was learnt about a tree in earlier readings.
struct Session {
    marks: Vec<Cell<Mark>>,
    /// Members to make up, by the number of their mapping.
    fillings: RefCell<HashMap<usize, Vec<&'static str>>>,
    /// Members that a made-up value of a type must have.
    required: RefCell<HashMap<StructType, Vec<&'static str>>>,
    flaws: RefCell<Vec<Flaw>>,
    omitted: Cell<usize>,
    stage: Cell<Stage>,
    /// How many more values may be visited in this reading.
    budget: Cell<usize>,
}

/// A type, by its name and those of its members.
type StructType = (&'static str, &'static [&'static str]);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Everything is read for the first time.
    First,
    /// What passed is left out, for it is not wanted.
    Again,
    /// All is read that can be, and the rest is made up, so that each list element keeps its number.
    Last,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Unread,
    /// A list element without errors.
    Passed,
    /// Left out, for what is wrong with it is noted.
    Dropped,
    /// A member of a name that its type does not know; left out.
    Unknown,
}

/// A document of another shape than its type's.
pub(super) struct Misshapen<T> {
    /// What could be read, where all that is wrong is known; not for use, but to find what else is wrong.
    pub(super) partial: Option<T>,
    /// What of it is not the file's.
    pub(super) doubts: Doubts,
    /// At least one.
    pub(super) flaws: Vec<Flaw>,
    /// How many more there are.
    pub(super) omitted: usize,
}

/// Reads a `T` from the tree, or tells all that is wrong, `flaws` included.
pub(super) fn read<T: DeserializeOwned>(
    tree: &Tree<'_>,
    flaws: Vec<Flaw>,
) -> Result<T, Misshapen<T>> {
    let session = Session {
        marks: vec![Cell::new(Mark::Unread); tree.count],
        fillings: RefCell::default(),
        required: RefCell::default(),
        flaws: RefCell::new(flaws),
        omitted: Cell::new(0),
        stage: Cell::new(Stage::First),
        budget: Cell::new(0),
    };
    // Without its top nothing is left to read.
    session.set_mark(tree.root.number, Mark::Dropped);
    let partial = loop {
        session.budget.set(visit_budget(tree.count));
        match T::deserialize(Reader::top(&session, &tree.root)) {
            Ok(value) if session.flaws.borrow().is_empty() => return Ok(value),
            Ok(value) if session.stage.get() == Stage::Last => break Some(value),
            Ok(_) => session.stage.set(Stage::Last),
            Err(fault) => {
                if !session.learn(fault) {
                    break None;
                }
                if session.stage.get() == Stage::First {
                    session.stage.set(Stage::Again);
                }
            }
        }
    };
    Err(Misshapen {
        partial,
        doubts: Doubts::new(session.marks, session.fillings.into_inner()),
        flaws: session.flaws.into_inner(),
        omitted: session.omitted.get(),
    })
}

impl Session {
    fn mark(&self, number: usize) -> Mark {
        self.marks.get(number).map_or(Mark::Unread, Cell::get)
    }

    /// Whether the mark is news.
    fn set_mark(&self, number: usize, mark: Mark) -> bool {
        self.marks
            .get(number)
            .is_some_and(|cell| cell.replace(mark) != mark)
    }

    fn note(&self, flaw: Flaw) {
        if !self.omits_more() {
            self.flaws.borrow_mut().push(flaw);
        }
    }

    /// Whether as many flaws are noted as are ever told; if so, one more is counted.
    fn omits_more(&self) -> bool {
        let is_full = self.flaws.borrow().len() >= MAX_PROBLEMS;
        if is_full {
            self.omitted.set(self.omitted.get() + 1);
        }
        is_full
    }

    /// The members without which no value of that type can be made up.
    fn required(&self, of: StructType) -> Vec<&'static str> {
        self.required.borrow().get(&of).cloned().unwrap_or_default()
    }

    /// Notes the fault and sees to it that the next reading gets past it; false when there is no getting past.
    fn learn(&self, fault: Fault) -> bool {
        let Some(site) = fault.site else {
            return false;
        };
        let Site {
            path,
            position,
            number,
            mapping,
        } = *site;
        let flaw = |message: String, help: Option<String>| Flaw {
            path,
            position,
            message,
            help,
        };
        match fault.kind {
            Kind::Missing { name, dropped } => {
                if !dropped {
                    self.note(flaw(format!("missing member `{name}`"), None));
                }
                let mut fillings = self.fillings.borrow_mut();
                let names = fillings.entry(mapping).or_default();
                if names.contains(&name) {
                    return self.set_mark(number, Mark::Dropped);
                }
                names.push(name);
                true
            }
            Kind::Required { of, name } => {
                let mut required = self.required.borrow_mut();
                let names = required.entry(of).or_default();
                let is_news = !names.contains(&name);
                names.push(name);
                is_news
            }
            Kind::Unfillable => self.set_mark(number, Mark::Dropped),
            Kind::TooMuch => {
                self.note(flaw("aliases repeat too much".to_owned(), None));
                false
            }
            Kind::Wrong { message, help } => {
                self.note(flaw(message, help));
                self.set_mark(number, Mark::Dropped) && self.flaws.borrow().len() < MAX_PROBLEMS
            }
        }
    }
}
