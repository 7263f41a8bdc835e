//! Where the server stands between start and end, and who is told: `/readyz`, gRPC health, the connections.
//!
//! One value that only moves forward. Everything that behaves differently while loading or draining looks at it, so
//! that no two places can disagree.

use tokio::sync::watch;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

/// The service that Envoy calls, as gRPC health names it.
pub(crate) const AUTHORIZATION: &str = "envoy.service.auth.v3.Authorization";
/// The services that health is told for: all of the server, and the one that Envoy calls.
const HEALTH_NAMES: [&str; 2] = ["", AUTHORIZATION];

/// Where the server stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Bound; the first load is under way.
    Loading,
    /// Serving.
    Ready,
    /// Serving still, and telling everyone to go elsewhere.
    Draining,
    /// The gRPC listener is closed; what is in flight finishes.
    Closing,
    /// The admin listener closes too.
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

/// Watches the phase.
#[derive(Debug, Clone)]
pub(crate) struct PhaseWatch(watch::Receiver<Phase>);

impl PhaseWatch {
    /// The phase now.
    pub(crate) fn now(&self) -> Phase {
        *self.0.borrow()
    }

    /// Waits until the phase is reached or passed.
    pub(crate) async fn reached(&mut self, phase: Phase) {
        // An error means that the server is gone, and so past every phase.
        _ = self.0.wait_for(|now| *now >= phase).await;
    }
}

/// Moves the phase forward and tells gRPC health.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    phase: watch::Sender<Phase>,
    health: HealthReporter,
}

impl Lifecycle {
    /// A server that is loading.
    pub(crate) async fn new(health: HealthReporter) -> Self {
        let lifecycle = Self {
            phase: watch::Sender::new(Phase::Loading),
            health,
        };
        lifecycle.report_health(Phase::Loading).await;
        lifecycle
    }

    /// A view of the phase.
    pub(crate) fn watch(&self) -> PhaseWatch {
        PhaseWatch(self.phase.subscribe())
    }

    /// Enters a phase; never goes back.
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
                // This ends the streams of `Watch`, which would otherwise hold the drain up to its deadline.
                self.health.clone().clear_service_status(name).await;
            }
        }
    }
}
