//! Tests of who goes when all places, or all memory, are taken.

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
    fn new(places: usize, newcomers: usize) -> Self {
        let clock = Arc::new(Moved::default());
        let metrics = Metrics::new(1).unwrap();
        let bounds = Bounds { places, newcomers };
        let of_listener = metrics.listener("grpc").unwrap();
        let connections = Connections::new("grpc", bounds, clock.clone(), of_listener);
        Self {
            clock,
            connections,
            metrics,
        }
    }

    fn enter(&self) -> Place {
        self.connections.enter().expect("a place")
    }

    /// Enters a connection that sends a message at once.
    fn enter_with_message(&self) -> Place {
        let place = self.enter();
        place.peer().message_came();
        place
    }
}

fn leaving(places: &[&Place]) -> Vec<bool> {
    places.iter().map(|place| place.0.is_leaving()).collect()
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_silent_connection_goes_before_one_that_sent_a_message_however_long_ago() {
    let scene = Scene::new(3, 1);
    let envoy = scene.enter_with_message();
    scene.clock.advance(100 * SECOND);
    let (older, younger) = (scene.enter(), scene.enter());
    let _new = scene.enter();
    assert_eq!(leaving(&[&envoy, &older, &younger]), [false, true, false]);
}

#[test]
fn a_newcomer_has_its_time_while_newcomers_are_few() {
    let scene = Scene::new(3, 2);
    let idle = scene.enter_with_message();
    scene.clock.advance(SECOND);
    let busy = scene.enter_with_message();
    let newcomer = scene.enter();
    let second = scene.enter();
    assert_eq!(leaving(&[&idle, &busy, &newcomer]), [true, false, false]);
    drop(idle);
    scene.clock.advance(FIRST_WORDS_TIME);
    let _third = scene.enter();
    assert_eq!(
        leaving(&[&busy, &newcomer, &second]),
        [false, true, false],
        "its time is over"
    );
}

#[test]
fn of_busy_connections_the_one_idle_longest_goes_and_none_of_which_a_check_is_decided() {
    let scene = Scene::new(3, 3);
    let (first, second, third) = (
        scene.enter_with_message(),
        scene.enter_with_message(),
        scene.enter_with_message(),
    );
    let deciding = first.peer().decide();
    scene.clock.advance(SECOND);
    second.peer().message_came();
    let _fourth = scene.enter_with_message();
    assert_eq!(leaving(&[&first, &second, &third]), [false, false, true]);
    drop((third, deciding));
    let _fifth = scene.enter_with_message();
    assert_eq!(leaving(&[&first, &second]), [true, false]);
}

#[test]
fn a_new_connection_is_refused_only_where_every_other_has_a_check_in_flight() {
    let scene = Scene::new(2, 1);
    let (first, second) = (scene.enter_with_message(), scene.enter_with_message());
    let deciding = [first.peer().decide(), second.peer().decide()];
    assert!(scene.connections.enter().is_none());
    drop(deciding);
    assert!(scene.connections.enter().is_some());
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
    let places = [scene.enter(), scene.enter()];
    assert_eq!(*open.borrow(), 2);
    assert!(told());
    drop(places);
    assert_eq!(*open.borrow(), 0);
    assert!(!told());
}

#[test]
fn calls_that_wait_longest_make_room_for_the_messages_of_others() {
    let scene = Scene::new(9, 9);
    let (stalled, envoy) = (scene.enter(), scene.enter());
    let _waiting = stalled.peer().wait();
    let mut holding = stalled.peer().hold();
    assert!(holding.message_grows(HELD_MAX_BYTES / 2));
    let mut arriving = envoy.peer().hold();
    assert!(
        !arriving.message_grows(HELD_MAX_BYTES / 2),
        "nobody has waited long"
    );
    drop(arriving);
    scene.clock.advance(SECOND);
    let _later = envoy.peer().wait();
    let mut arriving = envoy.peer().hold();
    assert!(arriving.message_grows(HELD_MAX_BYTES / 2));
    assert_eq!(leaving(&[&stalled, &envoy]), [true, false]);
}

#[test]
fn the_connection_with_most_calls_that_wait_goes_when_calls_are_too_many() {
    let scene = Scene::new(9, 9);
    let (flood, envoy) = (scene.enter(), scene.enter());
    let _one = (envoy.peer().wait(), envoy.peer().hold());
    let mut calls = Vec::new();
    while !flood.0.is_leaving() {
        assert!(calls.len() < 1_000_000);
        calls.push((flood.peer().wait(), flood.peer().hold()));
    }
    assert!(!envoy.0.is_leaving());
    drop(calls);
    assert_eq!(flood.0.held(), 0);
}

#[test]
fn a_connection_whose_answers_are_not_taken_is_closed_and_no_other() {
    let scene = Scene::new(9, 9);
    let (stalled, slow, streaming) = (scene.enter(), scene.enter(), scene.enter());
    let _answer = stalled.peer().wait();
    let _stream = streaming.peer().hold();
    for _ in 0..ANSWER_SECONDS {
        let _answer = slow.peer().wait();
        scene.clock.advance(SECOND);
        scene.connections.close_stalled();
        assert_eq!(leaving(&[&stalled, &slow, &streaming]), [false; 3]);
    }
    scene.clock.advance(SECOND);
    scene.connections.close_stalled();
    assert_eq!(
        leaving(&[&stalled, &slow, &streaming]),
        [true, false, false]
    );
}
