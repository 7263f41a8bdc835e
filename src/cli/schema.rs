//! `keyward schema`: JSON Schemas of the configuration and the keys file, for editors.
//!
//! They come from the very types that the files are read into, so that they cannot say anything
//! else.

use std::io::Write;

use super::command::SchemaOf;
use super::{Error, Outcome, print};

pub(super) fn run(file: SchemaOf, out: &mut impl Write) -> Result<Outcome, Error> {
    let schema = match file {
        SchemaOf::Config => crate::config::schema(),
        SchemaOf::Keys => crate::keys::record::schema::schema(),
    };
    print(out, format!("{:#}\n", schema.as_value()).as_bytes())?;
    Ok(Outcome::Success)
}
