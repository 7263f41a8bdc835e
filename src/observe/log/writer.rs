//! A thread that writes, so that nobody who serves waits for whoever reads standard error.
//!
//! Lines are appended to one buffer, which the thread takes whole: one system call writes what has gathered. When the
//! reader stalls, the buffer fills and further lines are lost, counted and told of once it reads again. Against a
//! channel of lines this saves an allocation and a call per line, and bounds bytes rather than lines.

use std::io::{self, Write};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Bytes that may wait to be written: some thousand decision lines. As much again may be in the hands of the thread.
const MAX_PENDING_BYTES: usize = 2 * 1024 * 1024;

/// A buffer that has grown beyond this in a burst is given back rather than kept.
const KEPT_BYTES: usize = 64 * 1024;

/// How long the end of the process waits for a reader that may never read again.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
struct State {
    pending: Vec<u8>,
    lost: u64,
    /// The thread waits for `wake`; nobody else need be woken.
    is_idle: bool,
    is_closing: bool,
    is_done: bool,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    done: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes lines.
#[derive(Debug)]
pub(super) struct Sink {
    shared: Arc<Shared>,
}

impl Sink {
    /// Hands over a line with its line feed; never waits for the output.
    pub(super) fn write(&self, line: &str) {
        let mut state = self.shared.lock();
        if state.is_closing {
            return;
        }
        if state.pending.len() + line.len() > MAX_PENDING_BYTES {
            state.lost += 1;
            return;
        }
        state.pending.extend_from_slice(line.as_bytes());
        let is_idle = mem::take(&mut state.is_idle);
        drop(state);
        if is_idle {
            self.shared.wake.notify_one();
        }
    }
}

/// Writes what is still under way when it is dropped, unless the reader stalls for a second.
#[derive(Debug)]
#[must_use = "lines that are under way are lost when it is not kept to the end"]
pub struct Flush {
    shared: Arc<Shared>,
}

impl Drop for Flush {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.is_closing = true;
        self.shared.wake.notify_one();
        let waited = self
            .shared
            .done
            .wait_timeout_while(state, FLUSH_TIMEOUT, |state| !state.is_done);
        drop(waited);
    }
}

/// Starts the thread; `lost_line` makes the line that tells how many were lost. It ends when `Flush` is dropped.
pub(super) fn start(
    mut output: impl Write + Send + 'static,
    lost_line: impl Fn(u64) -> String + Send + 'static,
) -> io::Result<(Sink, Flush)> {
    let shared = Arc::new(Shared::default());
    let ours = Arc::clone(&shared);
    thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || {
            let mut taken = Vec::new();
            while let Some(lost) = take(&ours, &mut taken) {
                if lost > 0 {
                    taken.extend_from_slice(lost_line(lost).as_bytes());
                }
                // Where nobody listens any more there is nobody to tell.
                let _ = output.write_all(&taken).and_then(|()| output.flush());
                taken.clear();
                if taken.capacity() > KEPT_BYTES {
                    taken = Vec::new();
                }
            }
            ours.lock().is_done = true;
            ours.done.notify_all();
        })?;
    Ok((
        Sink {
            shared: Arc::clone(&shared),
        },
        Flush { shared },
    ))
}

/// Waits for lines and takes them all, with the number of those that were lost behind them; `None` at the end.
fn take(shared: &Shared, taken: &mut Vec<u8>) -> Option<u64> {
    let mut state = shared.lock();
    while state.pending.is_empty() && state.lost == 0 {
        if state.is_closing {
            return None;
        }
        state.is_idle = true;
        state = shared
            .wake
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner);
    }
    state.is_idle = false;
    mem::swap(&mut state.pending, taken);
    Some(mem::take(&mut state.lost))
}
