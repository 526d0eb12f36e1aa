//! The plan of a shutdown: steps in their order, each with its timeout.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use crate::BoxError;
use crate::lifecycle::usable_name;
use crate::step::{Planned, StepHandle, Work};

/// What is to be done between the request to stop and the end.
///
/// The steps run one after the other in the order they were added; the next one runs whatever the last one
/// did. Each is bounded by its own timeout and by the stop deadline.
#[derive(Default)]
pub struct Plan {
    steps: Vec<Planned>,
}

impl Plan {
    /// A plan without steps.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a step that is a future. At its timeout it is dropped where it waits.
    ///
    /// It runs on the tokio runtime that [`run_until_stopped`](crate::Lastbeat::run_until_stopped) is called
    /// on; without one, on a thread of its own.
    #[must_use]
    pub fn step<F, Fut>(self, name: &str, timeout: Duration, step: F) -> Self
    where
        F: FnOnce(StepHandle) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        let work = Work::Future(Box::new(|handle| Box::pin(async move { step(handle).await })));
        self.with(name, timeout, work)
    }

    /// Adds a step that blocks. It runs on a thread of its own; at its timeout it is left behind there.
    #[must_use]
    pub fn step_blocking<F>(self, name: &str, timeout: Duration, step: F) -> Self
    where
        F: FnOnce(StepHandle) -> Result<(), BoxError> + Send + 'static,
    {
        self.with(name, timeout, Work::Blocking(Box::new(step)))
    }

    fn with(mut self, name: &str, timeout: Duration, work: Work) -> Self {
        self.steps.push(Planned { name: usable_name(name), timeout, work });
        self
    }

    pub(crate) fn into_steps(self) -> Vec<Planned> {
        self.steps
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.steps.iter().map(|step| (step.name.as_str(), step.timeout))).finish()
    }
}
