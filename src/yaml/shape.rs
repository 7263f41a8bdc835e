//! Finds all that is wrong with a document's shape.
//!
//! serde stops at the first error, so the tree is read over and over: what was wrong is noted and left out
//! next time, a missing member is noted and filled in, until the rest passes. List elements that passed are
//! not read again, so a list of 100 000 with a hundred errors takes the time of two readings and not of a
//! hundred. What was read that way is thrown away: a value comes from a first reading without any error.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use serde::de::DeserializeOwned;

use super::problem::MAX_PROBLEMS;
use super::tree::{Flaw, Tree, visit_budget};
use fault::{Fault, Kind, Site};
use reader::Reader;

mod access;
mod fault;
mod filler;
mod reader;
mod trail;

/// What was learnt about a tree in earlier readings.
struct Session {
    marks: Vec<Cell<Mark>>,
    /// Members to make up, by the number of their mapping.
    fillings: RefCell<HashMap<usize, Vec<&'static str>>>,
    flaws: RefCell<Vec<Flaw>>,
    omitted: Cell<usize>,
    /// Whether this is a second or later reading.
    again: Cell<bool>,
    /// How many more values may be visited in this reading.
    budget: Cell<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Unread,
    /// A list element without errors.
    Passed,
    /// Left out, for what is wrong with it is noted.
    Dropped,
}

/// Reads a `T` from the tree, or tells all that is wrong, `flaws` included, and how much more there is.
pub(super) fn read<T: DeserializeOwned>(
    tree: &Tree<'_>,
    flaws: Vec<Flaw>,
) -> Result<T, (Vec<Flaw>, usize)> {
    let session = Session {
        marks: vec![Cell::new(Mark::Unread); tree.count],
        fillings: RefCell::default(),
        flaws: RefCell::new(flaws),
        omitted: Cell::new(0),
        again: Cell::new(false),
        budget: Cell::new(0),
    };
    // Without its top nothing is left to read.
    session.set_mark(tree.root.number, Mark::Dropped);
    loop {
        session.budget.set(visit_budget(tree.count));
        match T::deserialize(Reader::top(&session, &tree.root)) {
            Ok(value) if session.flaws.borrow().is_empty() => return Ok(value),
            Ok(_) => break,
            Err(fault) => {
                if !session.learn(fault) {
                    break;
                }
            }
        }
        session.again.set(true);
    }
    Err((session.flaws.into_inner(), session.omitted.get()))
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
        let mut flaws = self.flaws.borrow_mut();
        if flaws.len() < MAX_PROBLEMS {
            flaws.push(flaw);
        } else {
            self.omitted.set(self.omitted.get() + 1);
        }
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
