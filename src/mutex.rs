//! Taking a lock after a panic in another thread.
//!
//! The standard library's mutexes are poisoned by a panic while they are held. Every holder in this
//! crate leaves what the mutex guards valid at each point where it could panic, so a request that
//! panicked must not take the locks of all others with it.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks the mutex, poisoned or not. Holders leave its content valid wherever they could panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
