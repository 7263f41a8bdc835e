//! Metrics as a scrape shows them.

use std::collections::BTreeSet;

use super::*;
use crate::authz::key::tests::record;

mod keys;

const FIRST: Generation = Generation(1);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn expiring(id: &str, second: i64) -> KeyRecord {
    let mut record = record(id);
    record.validity.expires_at = Some(at(second).into());
    record
}

/// The samples of a family, without its name, in the order written.
fn samples(metrics: &Metrics, family: &str) -> Vec<String> {
    let text = metrics.render();
    let of_family = |line: &str| {
        line.strip_prefix(family)
            .filter(|rest| rest.starts_with(['{', ' ']))
            .map(str::to_owned)
    };
    text.lines().filter_map(of_family).collect()
}

#[test]
fn each_reason_counts_under_its_own_labels() {
    let metrics = Metrics::new(1).unwrap();
    for (times, reason) in Reason::ALL.iter().enumerate() {
        for _ in 0..=times {
            metrics.checked(reason.kind(), *reason, Duration::from_micros(30));
        }
    }
    let counted = samples(&metrics, "keyward_checks_total");
    for (times, reason) in Reason::ALL.iter().enumerate() {
        let sample = format!(
            "{{decision=\"{}\",reason=\"{reason}\"}} {}",
            reason.kind(),
            times + 1
        );
        assert!(counted.contains(&sample), "{sample} is not in {counted:?}");
    }
    let durations = samples(&metrics, "keyward_check_duration_seconds_bucket");
    assert!(
        durations.contains(&"{decision=\"allow\",le=\"0.000025\"} 0".to_owned()),
        "{durations:?}"
    );
    assert!(
        durations.contains(&"{decision=\"allow\",le=\"0.00005\"} 3".to_owned()),
        "{durations:?}"
    );
}

#[test]
fn reasons_are_there_before_they_happen() {
    assert_eq!(
        samples(&Metrics::new(1).unwrap(), "keyward_checks_total").len(),
        Reason::ALL.len()
    );
}

#[test]
fn handles_record_under_their_labels() {
    let metrics = Metrics::new(0).unwrap();
    metrics.cache.stale.inc();
    metrics.cache.set_entries(3, 4);
    metrics.reloads.loaded(ReloadTarget::Config, at(5));
    metrics.reloads.succeeded(ReloadTarget::Keys, at(6));
    metrics.reloads.failed(ReloadTarget::Config);
    metrics.invalidations.push.inc();
    let source = metrics.source("redis").unwrap();
    source.looked_up(SourceResult::Timeout, Duration::from_millis(150));
    source.set_up(true);
    let text = metrics.render();
    for line in [
        "keyward_cache_lookups_total{result=\"stale\"} 1",
        "keyward_cache_lookups_total{result=\"negative_hit\"} 0",
        "keyward_cache_entries{kind=\"key\"} 3",
        "keyward_cache_entries{kind=\"negative\"} 4",
        "keyward_last_reload_success_timestamp_seconds{what=\"config\"} 5",
        "keyward_last_reload_success_timestamp_seconds{what=\"keys\"} 6",
        "keyward_reloads_total{result=\"failure\",what=\"config\"} 1",
        "keyward_reloads_total{result=\"success\",what=\"config\"} 0",
        "keyward_reloads_total{result=\"success\",what=\"keys\"} 1",
        "keyward_invalidations_total{origin=\"file\"} 0",
        "keyward_invalidations_total{origin=\"push\"} 1",
        "keyward_source_lookups_total{result=\"timeout\",source=\"redis\"} 1",
        "keyward_source_lookup_duration_seconds_bucket{source=\"redis\",le=\"0.15\"} 1",
        "keyward_source_up{source=\"redis\"} 1",
    ] {
        assert!(
            text.lines().any(|written| written == line),
            "{line} is not in\n{text}"
        );
    }
    let build = format!(
        "keyward_build_info{{revision=\"{}\",version=\"{}\"}} 1",
        revision(),
        env!("CARGO_PKG_VERSION")
    );
    assert!(
        text.lines().any(|written| written == build),
        "{build} is not in\n{text}"
    );
}

#[test]
fn what_was_never_loaded_has_no_time_of_its_last_load() {
    let metrics = Metrics::new(0).unwrap();
    let family = "keyward_last_reload_success_timestamp_seconds";
    assert_eq!(samples(&metrics, family), [""; 0]);
    metrics.certificates.refused();
    metrics.reloads.loaded(ReloadTarget::Config, at(5));
    assert_eq!(samples(&metrics, family), ["{what=\"config\"} 5"]);
}

#[test]
fn an_expiry_that_cannot_be_told_takes_away_that_of_the_certificate_before() {
    let metrics = Metrics::new(0).unwrap();
    let family = "keyward_certificate_expiry_timestamp_seconds";
    let (member, now) = ("server.grpc.tls", at(1));
    metrics.certificates.loaded(member, None, now);
    assert_eq!(samples(&metrics, family), [""; 0]);
    metrics.certificates.reloaded(member, Some(at(5)), now);
    metrics.certificates.loaded("another", Some(at(6)), now);
    metrics.certificates.reloaded(member, None, now);
    assert_eq!(samples(&metrics, family), ["{member=\"another\"} 6"]);
}

#[test]
fn a_family_is_written_once_with_its_help() {
    let metrics = Metrics::new(2).unwrap();
    for id in ["a", "b", "c"] {
        metrics
            .key_series(&expiring(id, 9), FIRST)
            .record(Reason::Allowed, None, at(1));
    }
    let text = metrics.render();
    let mut families = BTreeSet::new();
    for line in text.lines() {
        if let Some(family) = line.strip_prefix("# HELP ") {
            let (name, help) = family.split_once(' ').unwrap();
            assert!(families.insert(name.to_owned()), "{name} is there twice");
            let has_unit = !name.contains("_seconds") || help.contains(", in seconds");
            assert!(help.ends_with('.') && has_unit, "{name}: {help}");
        } else if !line.starts_with("# TYPE ") {
            assert!(
                families.iter().any(|family| line.starts_with(family)),
                "{line}"
            );
        }
    }
}
