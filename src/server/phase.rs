//! The phase of the server between its start and its end.
//!
//! One value that only moves forward. `/readyz`, gRPC health and the listeners all read it, so that
//! no two of them can disagree about whether the server is loading or draining.

use tokio::sync::watch;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

/// The service that Envoy calls, as gRPC health names it.
pub(crate) const AUTHORIZATION: &str = "envoy.service.auth.v3.Authorization";
/// The services whose health is reported: the server as a whole, and the one that Envoy calls.
const HEALTH_NAMES: [&str; 2] = ["", AUTHORIZATION];

/// A phase, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Bound; the keys are being loaded.
    Loading,
    Ready,
    /// Still serving, but reporting that it is not ready.
    Draining,
    /// The gRPC listener is closed; calls in flight finish.
    Closing,
    /// The admin listener is closed too.
    Stopped,
}

impl Phase {
    /// Why the server is not ready; `None` if it is.
    pub(crate) fn unready_reason(self) -> Option<&'static str> {
        match self {
            Self::Loading => Some("loading"),
            Self::Ready => None,
            Self::Draining | Self::Closing | Self::Stopped => Some("draining"),
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct PhaseWatch(watch::Receiver<Phase>);

impl PhaseWatch {
    pub(crate) fn now(&self) -> Phase {
        *self.0.borrow()
    }

    /// Waits until the phase is reached or passed.
    pub(crate) async fn reached(&mut self, phase: Phase) {
        // An error means that the server has been dropped, and so is past every phase.
        _ = self.0.wait_for(|now| *now >= phase).await;
    }
}

/// Moves the phase forward and reports it to gRPC health.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    phase: watch::Sender<Phase>,
    health: HealthReporter,
}

impl Lifecycle {
    pub(crate) async fn new(health: HealthReporter) -> Self {
        let lifecycle = Self {
            phase: watch::Sender::new(Phase::Loading),
            health,
        };
        lifecycle.report_health(Phase::Loading).await;
        lifecycle
    }

    pub(crate) fn watch(&self) -> PhaseWatch {
        PhaseWatch(self.phase.subscribe())
    }

    /// Enters a phase, unless it is past it.
    pub(crate) async fn enter(&mut self, phase: Phase) {
        self.phase.send_if_modified(|now| {
            let forward = phase > *now;
            if forward {
                *now = phase;
            }
            forward
        });
        self.report_health(phase).await;
    }

    async fn report_health(&self, phase: Phase) {
        let status = if phase == Phase::Ready {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        for name in HEALTH_NAMES {
            if phase < Phase::Closing {
                self.health.set_service_status(name, status).await;
            } else {
                // This ends the streams of `Watch`, which would otherwise keep their connections
                // open until the drain's deadline.
                self.health.clone().clear_service_status(name).await;
            }
        }
    }
}
