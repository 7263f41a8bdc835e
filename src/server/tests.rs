//! Tests of the whole server, in this process.
