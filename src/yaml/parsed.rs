//! A document that was read, as a whole or in part.
//!
//! The part is there to be looked at by a loader's conversion, which finds what is wrong with its values. There is no other way to it,
//! and what the conversion makes of it goes nowhere: nothing serves from a document that has a problem.

use super::checker::{Checker, Place};
use super::problem::{Problem, Problems};
use super::shape::Misshapen;
use super::{Document, Source};

/// A document, converted.
#[derive(Debug)]
pub struct Converted<'t, U> {
    /// What was made of it.
    pub value: U,
    /// What the conversion warned of, in the order of the file.
    pub warnings: Vec<Problem>,
    /// Where the document says what it says.
    pub source: Source<'t>,
}

pub(super) enum Parsed<'t, T> {
    Whole(Document<'t, T>),
    Partial(Partial<'t, T>),
}

/// A document of another shape than its type's.
pub(super) struct Partial<'t, T> {
    pub(super) misshapen: Misshapen<T>,
    pub(super) source: Source<'t>,
}

impl<'t, T> Parsed<'t, T> {
    /// The document, if nothing is wrong with its shape.
    pub(super) fn whole(self) -> Result<Document<'t, T>, Problems> {
        match self {
            Self::Whole(document) => Ok(document),
            Self::Partial(partial) => Err(partial.problems(|_, _| ())),
        }
    }

    /// What the conversion makes of it, if nothing is wrong with its shape and its values.
    pub(super) fn convert<U>(
        self,
        conversion: impl FnOnce(T, &Place<'_>) -> Option<U>,
    ) -> Result<Converted<'t, U>, Problems> {
        let Document { value, source } = match self {
            Self::Whole(document) => document,
            Self::Partial(partial) => {
                return Err(partial.problems(|value, top| drop(conversion(value, top))));
            }
        };
        let checker = source.checker();
        let converted = conversion(value, &checker.top());
        let warnings = checker.warnings();
        checker.finish()?;
        match converted {
            Some(value) => Ok(Converted {
                value,
                warnings,
                source,
            }),
            None => Err(unusable(&source)),
        }
    }
}

impl<T> Partial<'_, T> {
    /// All that is wrong with its shape and, as far as `check` can tell from what was read, with its values.
    fn problems(self, check: impl FnOnce(T, &Place<'_>)) -> Problems {
        let Self { misshapen, source } = self;
        let flaws = misshapen.flaws.into_iter();
        let problems: Vec<Problem> = flaws.map(|flaw| source.problem(flaw)).collect();
        let checker = Checker::new(&source, Some(misshapen.doubts));
        if let Some(value) = misshapen.partial {
            check(value, &checker.top());
        }
        match checker.finish_with(problems, misshapen.omitted) {
            Err(problems) => problems,
            Ok(()) => unusable(&source),
        }
    }
}

/// What is said when nobody noted what is wrong.
fn unusable(source: &Source<'_>) -> Problems {
    Problems::one(&source.file, None, "the file cannot be used", None)
}
