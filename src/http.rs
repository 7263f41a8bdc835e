//! Interprets HTTP responses for keyward's clients: strictly, with errors in operators' terms.
//!
//! Why there is no answer, and whether asking again may help (`failure`); whether a body is
//! encoded (`encoding`); how long an answer may be cached (`freshness`); and server-sent events
//! (`event_stream`). Nothing here makes a connection or knows what is asked for.

pub(crate) mod encoding;
pub(crate) mod event_stream;
pub(crate) mod failure;
pub(crate) mod freshness;
