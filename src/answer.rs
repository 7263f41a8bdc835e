//! What an answer says, before it is Envoy's or any other front door's.
//!
//! Takes a `Decision` and the policy it fell by and gives plain values: for an allow, the headers to
//! set and to remove on the request's way upstream ([`upstream`]); for a refusal, status, headers and
//! body ([`denial`]). Nothing here knows protobuf, so that every front door says the same.

pub mod denial;
pub mod upstream;
