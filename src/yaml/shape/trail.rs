//! The way from the top of a document to a value in it.
//!
//! It is kept on the stack, each step pointing to the one before, so that reading a value costs no allocation
//! and only a fault pays for its path.

use super::super::problem::{Segment, YamlPath};

/// The way from the top to a value.
#[derive(Clone, Copy)]
pub(super) struct Trail<'s> {
    pub(super) parent: Option<&'s Trail<'s>>,
    pub(super) step: Step<'s>,
    /// The number under which the value can be left out.
    pub(super) number: usize,
}

#[derive(Clone, Copy)]
pub(super) enum Step<'s> {
    Top,
    Field(&'s str),
    Index(usize),
}

impl Trail<'_> {
    /// The path of the value, or of a member of it.
    pub(super) fn path(&self, member: Option<&str>) -> YamlPath {
        let mut segments: Vec<_> = member
            .map(|name| Segment::Field(name.to_owned()))
            .into_iter()
            .collect();
        let mut trail = Some(self);
        while let Some(here) = trail {
            match here.step {
                Step::Top => {}
                Step::Field(name) => segments.push(Segment::Field(name.to_owned())),
                Step::Index(index) => segments.push(Segment::Index(index)),
            }
            trail = here.parent;
        }
        segments.reverse();
        YamlPath(segments)
    }
}
