//! What operators order. The collector says it on their behalf: no door takes it from anybody.

use serde::{Deserialize, Serialize};

use crate::id::Name;

words! {
    /// What kind of work is planned.
    PlanKind {
        /// Stop, and be back before the window ends.
        Restart = "restart",
        /// Stop.
        Stop = "stop",
        /// An operator is at work: what happens is shown; what is still down at the end alerts once.
        Maintenance = "maintenance",
    }
}

/// `operator` `plan`. The window begins with the fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Its identity.
    pub id: Name,
    /// What kind of work.
    pub kind: PlanKind,
    /// The service it speaks of.
    pub service: Name,
    /// One worker of it; none: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<Name>,
    /// How long the window is, in ms.
    pub for_ms: u64,
    /// Who announced it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The deployment it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deploy: Option<String>,
}

/// `operator` `plan_end`: the window ends here, if it had not ended before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanEnd {
    /// Which plan.
    pub id: Name,
}

/// `operator` `forget`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forget {
    /// Its service.
    pub service: Name,
    /// Its name.
    pub worker: Name,
}
