//! What a source tells by itself: that a key changed, and whether it would tell.
//!
//! A source that pushes holds a [`Pushes`] and says what it hears. What is heard is kept as numbers in [`Trust`], one
//! that counts and one for each of many slots that ids and digests are hashed to. Whatever is learnt of a key carries
//! the number that stood before the source was asked, so that a comparison tells whether anything came between: nothing has to be
//! found or removed in the cache, and no answer that was under way can undo what was heard meanwhile. Where two keys share a slot,
//! a change of one has the other looked up: a key is never believed for it, and seldom refused, while lookups fail.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::authz::digest::KeyDigest;
use crate::clock::Clock;

mod hearing;

#[cfg(test)]
mod tests;

pub use hearing::Hearing;

/// Slots that ids and digests share, as many as a `u16` tells apart; half a MiB of numbers. Of 100 000 keys in the cache, a change
/// of one has three others looked up.
const SLOTS: usize = 1 << 16;

/// The number that stood when the source was asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp(u64);

/// What a stamped answer is worth now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing was heard since that concerns it, and all would have been heard.
    Current,
    /// Something may have happened since that was not heard: the source must be asked, and only if it fails is the answer
    /// worth anything.
    Doubtful,
    /// It is known to have changed: the answer is worth nothing.
    Outdated,
}

/// What was heard of changes.
pub struct Trust {
    clock: Arc<dyn Clock>,
    /// Counts everything that is heard.
    count: AtomicU64,
    /// When everything changed last.
    all: AtomicU64,
    /// When anything changed last.
    any: AtomicU64,
    /// When pushes were lost or armed last, or doubt was ordered.
    doubt: AtomicU64,
    turns: Mutex<Turns>,
    /// When the ids and digests of a slot changed last.
    slots: Box<[AtomicU64]>,
    /// The code of a `Hearing`.
    hearing: AtomicU8,
    /// Whether it was ever said that they are not.
    ever_lost: AtomicBool,
    loss: Notify,
    hasher: RandomState,
}

/// When pushes were armed last, and what became of them since.
#[derive(Debug, Default)]
struct Turns {
    /// The number of the last arming.
    armed: u64,
    /// The number of the first refusal since.
    refused: Option<u64>,
    /// When they were lost since, on the monotonic clock.
    lost_at: Option<Duration>,
}

/// Where changes of an id or a digest are noted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Slot(u16);

impl Trust {
    /// Nothing heard yet. Where the source pushes, nothing is believed before it has armed.
    pub fn new(source_pushes: bool, clock: Arc<dyn Clock>) -> Self {
        let (hearing, lost_at) = if source_pushes {
            (Hearing::Lost, Some(clock.monotonic()))
        } else {
            (Hearing::Off, None)
        };
        let turns = Turns {
            lost_at,
            ..Turns::default()
        };
        Self {
            clock,
            count: AtomicU64::new(0),
            all: AtomicU64::new(0),
            any: AtomicU64::new(0),
            doubt: AtomicU64::new(0),
            turns: Mutex::new(turns),
            slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            hearing: AtomicU8::new(hearing.code()),
            ever_lost: AtomicBool::new(false),
            loss: Notify::new(),
            hasher: RandomState::new(),
        }
    }

    /// The number to stamp an answer with; to be taken before the source is asked.
    pub fn stamp(&self) -> Stamp {
        Stamp(self.count.load(Ordering::SeqCst))
    }

    /// Where changes of the key with that id are noted.
    pub fn slot_of_id(&self, id: &str) -> Slot {
        slot(self.hasher.hash_one(id))
    }

    /// Where changes of what has that digest are noted.
    pub fn slot_of_digest(&self, digest: &KeyDigest) -> Slot {
        slot(self.hasher.hash_one(digest))
    }

    /// What an answer of that stamp about a key with these slots is worth.
    pub fn standing(&self, stamp: Stamp, slots: [Slot; 2]) -> Standing {
        let changed = |slot: &Slot| {
            let number = self.slots.get(usize::from(slot.0));
            number.is_some_and(|number| number.load(Ordering::SeqCst) > stamp.0)
        };
        if self.all.load(Ordering::SeqCst) > stamp.0 || slots.iter().any(changed) {
            Standing::Outdated
        } else if self.believes() && self.doubt.load(Ordering::SeqCst) <= stamp.0 {
            Standing::Current
        } else {
            Standing::Doubtful
        }
    }

    /// What the answer of that stamp that a digest is not known is worth: any change may have made it known.
    pub fn standing_of_unknown(&self, stamp: Stamp) -> Standing {
        if self.any.load(Ordering::SeqCst) > stamp.0 {
            Standing::Outdated
        } else if self.believes() && self.doubt.load(Ordering::SeqCst) <= stamp.0 {
            Standing::Current
        } else {
            Standing::Doubtful
        }
    }

    /// Whether changes are heard at the moment.
    pub fn hearing(&self) -> Hearing {
        Hearing::of_code(self.hearing.load(Ordering::SeqCst))
    }

    #[cfg(test)]
    pub(super) fn is_armed(&self) -> bool {
        self.hearing() == Hearing::Armed
    }

    /// Whether what is learnt may be believed without asking again.
    fn believes(&self) -> bool {
        self.hearing() != Hearing::Lost
    }

    /// Waits until pushes are lost, or something else speaks against the source.
    pub async fn lost(&self) {
        self.loss.notified().await;
    }

    /// Makes everything learnt so far doubtful, although nothing was missed.
    pub fn doubt_all(&self) {
        self.note(&[&self.doubt]);
    }

    /// The moment from which on what was learnt with that stamp may differ from what the source has, on the monotonic clock: when
    /// pushes were lost, or when its time was over. `None` if pushes were armed since: it must be looked up.
    pub fn stale_since(
        &self,
        stamp: Stamp,
        learnt_at: Duration,
        stale_at: Duration,
    ) -> Option<Duration> {
        let turns = self.turns();
        if turns.armed > stamp.0 {
            return None;
        }
        let is_pushed = turns.refused.is_none_or(|refused| refused > stamp.0);
        let lost_at = turns.lost_at.filter(|_| is_pushed);
        Some(lost_at.map_or(stale_at, |lost_at| lost_at.max(learnt_at).min(stale_at)))
    }

    /// Notes that what is learnt is believed from now on, after what was learnt before has become doubtful: whoever sees the one must
    /// see the other.
    fn believe(&self, hearing: Hearing) {
        let mut turns = self.turns();
        let number = self.note(&[&self.doubt]);
        if hearing == Hearing::Armed {
            *turns = Turns {
                armed: number,
                ..Turns::default()
            };
        } else {
            turns.refused.get_or_insert(number);
        }
        self.hearing.store(hearing.code(), Ordering::SeqCst);
    }

    /// Notes that a change may go unheard; what was so before.
    fn lose(&self) -> Hearing {
        let mut turns = self.turns();
        let before = self.hearing();
        if before != Hearing::Lost {
            self.hearing.store(Hearing::Lost.code(), Ordering::SeqCst);
            self.note(&[&self.doubt]);
        }
        // A server that refuses to push has no pushes to lose.
        if before == Hearing::Armed {
            turns.lost_at = Some(self.clock.monotonic());
        }
        before
    }

    /// The next number in these places. A stamp taken before this is lower and one taken after is not.
    fn note(&self, places: &[&AtomicU64]) -> u64 {
        let number = self.count.fetch_add(1, Ordering::SeqCst) + 1;
        for place in places {
            place.fetch_max(number, Ordering::SeqCst);
        }
        number
    }

    fn note_in(&self, slot: Slot) {
        match self.slots.get(usize::from(slot.0)) {
            Some(place) => self.note(&[place, &self.any]),
            None => self.note(&[&self.all, &self.any]),
        };
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        // Every change is whole before anything could panic.
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn slot(hash: u64) -> Slot {
    let [low, high, ..] = hash.to_le_bytes();
    Slot(u16::from_le_bytes([low, high]))
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust")
            .field("hearing", &self.hearing())
            .finish_non_exhaustive()
    }
}

/// Says what a source hears; clones say it to the same cache.
#[derive(Debug, Clone)]
pub struct Pushes {
    trust: Arc<Trust>,
    heard: Option<prometheus::IntCounter>,
    up: Option<prometheus::IntGauge>,
    source: &'static str,
}

impl Pushes {
    /// What is heard goes there, and is counted by `heard`.
    pub fn new(
        trust: Arc<Trust>,
        source: &'static str,
        heard: Option<prometheus::IntCounter>,
    ) -> Self {
        Self {
            trust,
            heard,
            up: None,
            source,
        }
    }

    /// The same, with a gauge that is 1 while changes are heard.
    #[must_use]
    pub fn shown_by(self, up: Option<prometheus::IntGauge>) -> Self {
        Self { up, ..self }
    }

    /// From now on every change is heard. What was learnt before is doubtful: what happened in between was not.
    pub fn armed(&self) {
        self.trust.believe(Hearing::Armed);
        self.show(true);
        tracing::info!(source = self.source, "changes of keys are pushed");
    }

    /// The source refuses to push: what is learnt from now on is believed for its time. Told in the log when it begins.
    pub fn refused(&self, why: &str) {
        if self.trust.hearing() == Hearing::Refused {
            return;
        }
        self.trust.believe(Hearing::Refused);
        self.show(false);
        tracing::warn!(
            source = self.source,
            why,
            "the server refuses to push changes of keys; a change is seen up to `cache.ttl` later"
        );
        self.suspect_source();
    }

    /// Changes may not be heard any more, or cannot be heard to begin with. That they were lost is told in the log.
    pub fn lost(&self, why: &str) {
        let before = self.trust.lose();
        self.show(false);
        let is_first = !self.trust.ever_lost.swap(true, Ordering::SeqCst);
        if before == Hearing::Armed {
            tracing::warn!(
                source = self.source,
                why,
                "changes of keys are not pushed any more; each key is looked up at its next use"
            );
        }
        if before != Hearing::Lost || is_first {
            self.suspect_source();
        }
    }

    /// Has the source tried, for something speaks against it.
    pub fn suspect_source(&self) {
        self.trust.loss.notify_one();
    }

    fn show(&self, is_up: bool) {
        if let Some(up) = &self.up {
            up.set(i64::from(is_up));
        }
    }

    /// The key with that id changed or went.
    pub fn key_changed(&self, id: &str) {
        self.trust.note_in(self.trust.slot_of_id(id));
        self.count();
    }

    /// That digest is another key's, or no key's, or a key's now.
    pub fn digest_changed(&self, digest: &KeyDigest) {
        self.trust.note_in(self.trust.slot_of_digest(digest));
        self.count();
    }

    /// Any key may have changed.
    pub fn all_changed(&self) {
        self.trust.note(&[&self.trust.all, &self.trust.any]);
        self.count();
    }

    fn count(&self) {
        if let Some(heard) = &self.heard {
            heard.inc();
        }
    }
}
