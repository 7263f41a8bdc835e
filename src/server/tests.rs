//! Tests of the whole server, in this process: on ports of the system's choosing, stopped and
//! reloaded through a channel.

mod draining;
mod idle;
mod listening;
mod reloading;
mod running;
