//! A file's keys: the map decides, the cache keeps what was prepared under its generation.

use super::*;

fn map(ids: &[&str]) -> KeyMap {
    let records = ids.iter().map(|id| Arc::new(record(id)));
    KeyMap::new(records.collect()).unwrap()
}

#[test]
fn a_key_is_prepared_once_for_each_generation() {
    let (prepared, prepare) = counting();
    let metrics = Metrics::new(10).unwrap();
    let cache = FileKeys::new(10, prepare, Some(metrics.cache.clone()));
    let (one, two) = (
        snapshot(1, Some(map(&["a"]))),
        snapshot(2, Some(map(&["a", "b"]))),
    );
    for (secret, snapshot, want, times) in [
        ("a", &one, "a", 1),
        ("a", &one, "a", 1),
        ("b", &one, "unknown", 1),
        ("b", &two, "b", 2),
        ("a", &two, "a", 3),
        ("a", &one, "a", 4),
    ] {
        assert_eq!(shown(Ok(cache.find(&digest_of(secret), snapshot))), want);
        assert_eq!(prepared.load(Ordering::SeqCst), times);
    }
    cache.measure();
    let want = [
        "entries{kind=\"key\"} 2",
        "lookups_total{result=\"hit\"} 1",
        "lookups_total{result=\"miss\"} 5",
    ];
    assert_eq!(metrics_of(&metrics), want);
}

#[test]
fn a_key_that_left_the_file_is_unknown_at_once_and_its_memory_goes_with_the_reload() {
    let cache = FileKeys::new(10, Box::new(|record, _| Arc::clone(record)), None);
    let record = Arc::new(record("a"));
    let before = snapshot(1, Some(KeyMap::new(vec![Arc::clone(&record)]).unwrap()));
    assert!(matches!(
        cache.find(&digest_of("a"), &before),
        Lookup::Known(_)
    ));
    let after = snapshot(2, Some(map(&["b"])));
    assert!(matches!(
        cache.find(&digest_of("a"), &after),
        Lookup::Unknown
    ));
    drop(before);
    cache.clear();
    // moka frees what it dropped when no reader can see it any more, and looks whenever it is used.
    let freed = (0..1000).any(|_| {
        cache.measure();
        Arc::strong_count(&record) == 1
    });
    assert!(freed);
}
