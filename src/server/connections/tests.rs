//! Tests of which connection is closed when the limit, or the memory for calls, is reached.

use jiff::Timestamp;

use super::*;
use crate::observe::metrics::Metrics;

/// A clock that a test moves.
#[derive(Default)]
struct Moved(Mutex<Duration>);

impl Moved {
    fn advance(&self, by: Duration) {
        *self.0.lock().unwrap() += by;
    }

    /// Leaves a `MOMENT`.
    fn advance_until_just_before(&self, time: Duration) {
        self.advance(time.saturating_sub(MOMENT));
    }
}

impl Clock for Moved {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    fn monotonic(&self) -> Duration {
        *self.0.lock().unwrap()
    }
}

struct Scene {
    clock: Arc<Moved>,
    connections: Connections,
    metrics: Metrics,
}

impl Scene {
    fn new(max: usize, newcomers: usize) -> Self {
        let clock = Arc::new(Moved::default());
        let metrics = Metrics::new(1).unwrap();
        let limit = ConnectionLimit {
            connections: max,
            newcomers,
        };
        let of_listener = metrics.listener("grpc").unwrap();
        let connections = Connections::new("grpc", limit, clock.clone(), of_listener);
        Self {
            clock,
            connections,
            metrics,
        }
    }

    fn admit(&self) -> Permit {
        self.connections.admit().expect("a permit")
    }

    /// Enters a connection that sends a message at once.
    fn admit_with_message(&self) -> Permit {
        let permit = self.admit();
        permit.peer().message_received();
        permit
    }
}

fn closing(permits: &[&Permit]) -> Vec<bool> {
    permits.iter().map(|permit| permit.0.is_closing()).collect()
}

const SECOND: Duration = Duration::from_secs(1);
const MOMENT: Duration = Duration::from_millis(1);

#[test]
fn a_silent_connection_goes_before_one_that_sent_a_message_however_long_ago() {
    let scene = Scene::new(3, 1);
    let envoy = scene.admit_with_message();
    scene.clock.advance(100 * SECOND);
    let (older, younger) = (scene.admit(), scene.admit());
    let _new = scene.admit();
    assert_eq!(closing(&[&envoy, &older, &younger]), [false, true, false]);
}

#[test]
fn a_newcomer_has_its_time_while_newcomers_are_few() {
    let scene = Scene::new(3, 2);
    let idle = scene.admit_with_message();
    scene.clock.advance(SECOND);
    let busy = scene.admit_with_message();
    let newcomer = scene.admit();
    let second = scene.admit();
    assert_eq!(closing(&[&idle, &busy, &newcomer]), [true, false, false]);
    drop(idle);
    scene.clock.advance(HANDSHAKE_TIMEOUT);
    let _third = scene.admit();
    assert_eq!(
        closing(&[&busy, &newcomer, &second]),
        [false, true, false],
        "its time is over"
    );
}

#[test]
fn of_busy_connections_the_one_idle_longest_goes_and_none_of_which_a_check_is_decided() {
    let scene = Scene::new(3, 3);
    let (first, second, third) = (
        scene.admit_with_message(),
        scene.admit_with_message(),
        scene.admit_with_message(),
    );
    let deciding = first.peer().start_deciding();
    scene.clock.advance(SECOND);
    second.peer().message_received();
    let _fourth = scene.admit_with_message();
    assert_eq!(closing(&[&first, &second, &third]), [false, false, true]);
    drop((third, deciding));
    let _fifth = scene.admit_with_message();
    assert_eq!(closing(&[&first, &second]), [true, false]);
}

#[test]
fn a_new_connection_is_refused_only_where_every_other_has_a_check_in_flight() {
    let scene = Scene::new(2, 1);
    let (first, second) = (scene.admit_with_message(), scene.admit_with_message());
    let deciding = [
        first.peer().start_deciding(),
        second.peer().start_deciding(),
    ];
    assert!(scene.connections.admit().is_none());
    drop(deciding);
    assert!(scene.connections.admit().is_some());
}

#[test]
fn connections_are_counted_while_they_are_open() {
    let scene = Scene::new(2, 1);
    let open = scene.connections.open();
    let told = || {
        let text = scene.metrics.render();
        let of_grpc = |name: &str| text.contains(&format!("{name}{{listener=\"grpc\"}} 2"));
        assert!(of_grpc("keyward_connections_max"), "{text}");
        of_grpc("keyward_connections")
    };
    let permits = [scene.admit(), scene.admit()];
    assert_eq!(*open.borrow(), 2);
    assert!(told());
    drop(permits);
    assert_eq!(*open.borrow(), 0);
    assert!(!told());
}

#[test]
fn the_connection_that_stalled_longest_makes_room_for_the_messages_of_others() {
    let scene = Scene::new(9, 9);
    let (stalled, later, envoy) = (scene.admit(), scene.admit(), scene.admit());
    let (_owed, mut holding) = (
        stalled.peer().start_receiving(),
        stalled.peer().track_memory(),
    );
    assert!(holding.message_grows(MAX_MESSAGES_BYTES / 2));
    scene.clock.advance(STALL_TIMEOUT / 2);
    let (_owed_later, _) = (later.peer().start_receiving(), later.peer().track_memory());
    scene.clock.advance_until_just_before(STALL_TIMEOUT / 2);
    let (_arriving, mut arriving) = (envoy.peer().start_receiving(), envoy.peer().track_memory());
    assert!(
        !arriving.message_grows(MAX_MESSAGES_BYTES / 2),
        "nobody has stalled"
    );
    let permits = [&stalled, &later, &envoy];
    assert_eq!(closing(&permits), [false; 3]);
    scene.clock.advance(MOMENT);
    assert!(arriving.message_grows(0));
    assert_eq!(closing(&permits), [true, false, false]);
}

#[test]
fn a_connection_that_is_in_use_is_not_closed_for_memory() {
    let scene = Scene::new(9, 9);
    let (deciding, lately, sending) = (scene.admit(), scene.admit(), scene.admit());
    let permits = [&deciding, &lately, &sending];
    let calls = permits.map(|permit| {
        (
            permit.peer().start_receiving(),
            permit.peer().track_memory(),
        )
    });
    deciding.peer().message_received();
    let _decision = deciding.peer().start_deciding();
    scene.clock.advance(10 * SECOND);
    lately.peer().message_received();
    scene.clock.advance_until_just_before(IN_USE_TIME);
    sending.peer().bytes_received();
    let new = scene.admit();
    let (_arriving, mut arriving) = (new.peer().start_receiving(), new.peer().track_memory());
    assert!(!arriving.message_grows(MAX_HELD_BYTES));
    assert!(!arriving.call_fits());
    assert_eq!(closing(&permits), [false; 3]);
    scene.clock.advance(MOMENT);
    assert!(!arriving.message_grows(0), "it is its own that is too much");
    assert_eq!(closing(&permits), [false, true, false]);
    drop(calls);
}

#[test]
fn a_connection_on_which_a_call_begins_after_a_long_silence_has_its_time() {
    let scene = Scene::new(9, 9);
    let envoy = scene.admit();
    scene.clock.advance(100 * SECOND);
    let (_arriving, mut arriving) = (envoy.peer().start_receiving(), envoy.peer().track_memory());
    scene.clock.advance_until_just_before(STALL_TIMEOUT);
    assert!(!arriving.message_grows(MAX_HELD_BYTES));
    assert!(!envoy.0.is_closing());
}

#[test]
fn calls_that_are_too_many_are_refused_until_their_connection_has_stalled() {
    let scene = Scene::new(9, 9);
    let (flood, envoy) = (scene.admit(), scene.admit_with_message());
    let mut calls = Vec::new();
    loop {
        assert!(calls.len() < 1_000_000);
        let (owed, held) = (flood.peer().start_receiving(), flood.peer().track_memory());
        let has_memory = held.call_fits();
        calls.push((owed, held));
        if !has_memory {
            break;
        }
    }
    assert!(!envoy.peer().track_memory().call_fits());
    assert_eq!(closing(&[&flood, &envoy]), [false; 2]);
    scene.clock.advance(STALL_TIMEOUT);
    assert!(envoy.peer().track_memory().call_fits());
    assert_eq!(closing(&[&flood, &envoy]), [true, false]);
    drop(calls);
    assert_eq!(flood.0.held(), 0);
}

#[test]
fn large_messages_leave_room_for_calls() {
    let scene = Scene::new(9, 9);
    let envoy = scene.admit();
    let mut large = envoy.peer().track_memory();
    assert!(!large.message_grows(MAX_MESSAGES_BYTES));
    for _ in 0..4000 {
        std::mem::forget(envoy.peer().track_memory());
    }
    assert!(envoy.peer().track_memory().call_fits());
}

#[test]
fn answers_that_are_not_taken_make_room_after_two_seconds() {
    let scene = Scene::new(9, 9);
    let (stalled, envoy) = (scene.admit_with_message(), scene.admit());
    let (_unread, mut holding) = (
        stalled.peer().start_sending(),
        stalled.peer().track_memory(),
    );
    assert!(!holding.message_grows(MAX_HELD_BYTES));
    let arriving = envoy.peer().track_memory();
    assert!(!arriving.call_fits());
    scene.clock.advance(SECOND * 2 + MOMENT);
    assert!(!arriving.call_fits());
    scene.clock.advance(SECOND);
    assert!(arriving.call_fits());
    assert_eq!(closing(&[&stalled, &envoy]), [true, false]);
}

#[test]
fn a_connection_whose_answers_are_not_taken_is_closed_and_no_other() {
    let scene = Scene::new(9, 9);
    let (stalled, slow, streaming) = (scene.admit(), scene.admit(), scene.admit());
    let _answer = stalled.peer().start_sending();
    let _stream = streaming.peer().track_memory();
    for _ in 0..MAX_UNREAD_SECONDS {
        let _answer = slow.peer().start_sending();
        scene.clock.advance(SECOND);
        scene.connections.close_stalled();
        assert_eq!(closing(&[&stalled, &slow, &streaming]), [false; 3]);
    }
    scene.clock.advance(SECOND);
    scene.connections.close_stalled();
    assert_eq!(
        closing(&[&stalled, &slow, &streaming]),
        [true, false, false]
    );
}
