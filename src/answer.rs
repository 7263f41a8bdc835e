//! What an answer says, before a protocol such as Envoy's encodes it.
//!
//! Takes a `Decision` and the policy that it was made by and returns plain values: for an allow,
//! the headers to set and to remove on the request's way upstream ([`upstream`]); for a refusal,
//! status, headers and body ([`denial`]). Nothing here knows protobuf, so that every protocol that
//! keyward serves gives the same answers.

pub mod denial;
pub mod upstream;
