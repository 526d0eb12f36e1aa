//! The plan of a shutdown: steps in their order, each with its timeout.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use crate::BoxError;
use crate::step::{Planned, Step, StepHandle};

/// What is to be done between the request to stop and the end.
///
/// The steps run one after the other in the order they were added; the next one runs whatever the last one
/// did. Each is bounded by its own timeout and by the stop deadline.
#[derive(Default)]
pub struct Plan {
    steps: Vec<Planned>,
    agents_first: Option<Duration>,
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
        self.with(Planned::once(name, timeout, step))
    }

    /// Adds a step that blocks. It runs on a thread of its own; at its timeout it is left behind there.
    #[must_use]
    pub fn step_blocking<F>(self, name: &str, timeout: Duration, step: F) -> Self
    where
        F: FnOnce(StepHandle) -> Result<(), BoxError> + Send + 'static,
    {
        self.with(Planned::once_blocking(name, timeout, step))
    }

    /// Adds a step with settings of its own: it may be tried again, or be left out in some environments.
    ///
    /// ```
    /// use std::time::Duration;
    /// use lastbeat::{Plan, Step};
    ///
    /// let cancel = Step::new("cancel-orders", Duration::from_secs(10)).attempts(3).skip_in("dry_run");
    /// let plan = Plan::new().add(cancel, |step| async move {
    ///     step.total(0);
    ///     Ok(())
    /// });
    /// # let _ = plan;
    /// ```
    #[must_use]
    pub fn add<F, Fut>(self, settings: Step, step: F) -> Self
    where
        F: FnMut(StepHandle) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.with(Planned::future(settings, step))
    }

    /// As [`add`](Self::add), for a step that blocks. A step that does not end in time is left behind and not
    /// tried again.
    #[must_use]
    pub fn add_blocking<F>(self, settings: Step, step: F) -> Self
    where
        F: FnMut(StepHandle) -> Result<(), BoxError> + Send + 'static,
    {
        self.with(Planned::blocking(settings, step))
    }

    /// How long agents are waited for before the steps run: by default 5 s, and at most a third of the time; what is
    /// said here counts as it is, up to the stop deadline. `LASTBEAT_DEADLINES_SCALE` multiplies it.
    ///
    /// A step often needs the agents gone: a loop that still places orders would undo one that cancels them.
    #[must_use]
    pub const fn agents_first(mut self, at_most: Duration) -> Self {
        self.agents_first = Some(at_most);
        self
    }

    fn with(mut self, step: Planned) -> Self {
        self.steps.push(step);
        self
    }

    pub(crate) fn into_parts(self) -> (Vec<Planned>, Option<Duration>) {
        (self.steps, self.agents_first)
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.steps.iter().map(|step| (step.name.as_str(), step.timeout()))).finish()
    }
}
