//! The accounting of a batch: all at once where that goes, one by one where it does not, each item by its label.

use std::future::Future;

use super::{Fate, LABEL_MAX_BYTES, LABELS_MAX, StepHandle};
use crate::sender::cut;
use crate::wait::bounded;
use crate::{BoxError, events};

/// Items of a step that are still to be done. See [`StepHandle::items`].
///
/// Nothing here fails the step: what became of the items does, as its outcome. With all of them done or skipped it
/// is ok, with some of them partial, with none failed.
#[derive(Debug)]
#[must_use = "items are done by `one_by_one`"]
pub struct Items<T> {
    step: StepHandle,
    open: Vec<(String, T)>,
}

impl<T> Items<T> {
    pub(super) fn new(step: StepHandle, items: Vec<T>, label: impl Fn(&T) -> String) -> Self {
        let open: Vec<(String, T)> =
            items.into_iter().map(|item| (cut(&label(&item), LABEL_MAX_BYTES).to_owned(), item)).collect();
        let mut audit = step.audit();
        for (label, _) in &open {
            if audit.fates.len() < LABELS_MAX {
                audit.fates.entry(label.clone()).or_insert(Fate::Open);
            }
        }
        drop(audit);
        if open.is_empty() {
            // None of none is an account too: "0 of 0" tells that somebody looked.
            step.total_unless_said(0);
        }
        let unnamed = open.len().saturating_sub(LABELS_MAX);
        if unnamed > 0 {
            step.total(unnamed as u64);
        }
        Self { step, open }
    }

    /// Leaves out the items for which a reason is given, such as an order that was never placed. They are skipped,
    /// not failed.
    pub fn skip(mut self, why: impl Fn(&T) -> Option<&'static str>) -> Self {
        let step = &self.step;
        self.open.retain(|(label, item)| {
            let why = why(item);
            if let Some(why) = why {
                step.told(label, Fate::Skipped, Some(why));
            }
            why.is_none()
        });
        self
    }

    /// Does all of them in one call, which gives the labels of those that it refused; what is refused, and all after
    /// an error, is left to be done one by one. Without items nothing is called.
    pub fn all_at_once(self, batch: impl FnOnce(&[T]) -> Result<Vec<String>, BoxError>) -> Self {
        if self.open.is_empty() || self.step.is_cut() {
            return self;
        }
        let (labels, items): (Vec<String>, Vec<T>) = self.open.into_iter().unzip();
        let told = batch(&items);
        settle(self.step, labels, items, told)
    }

    /// As [`all_at_once`](Self::all_at_once), for a call that is a future.
    pub async fn all_at_once_async<F, Fut>(self, batch: F) -> Self
    where
        T: Clone,
        F: FnOnce(Vec<T>) -> Fut,
        Fut: Future<Output = Result<Vec<String>, BoxError>>,
    {
        if self.open.is_empty() || self.step.is_cut() {
            return self;
        }
        let (labels, items): (Vec<String>, Vec<T>) = self.open.into_iter().unzip();
        let told = batch(items.clone()).await;
        settle(self.step, labels, items, told)
    }

    /// Does what is left, one item after the other; one that fails does not keep the next one. Ends early at the
    /// step's deadline or when the stop is forced: the rest is then not done.
    pub fn one_by_one(self, mut one: impl FnMut(&T) -> Result<(), BoxError>) {
        for (label, item) in self.open {
            if self.step.is_cut() {
                return;
            }
            self.step.judged(&label, one(&item));
        }
    }

    /// As [`one_by_one`](Self::one_by_one), for work that is a future.
    pub async fn one_by_one_async<F, Fut>(self, mut one: F)
    where
        F: FnMut(T) -> Fut,
        Fut: Future<Output = Result<(), BoxError>>,
    {
        for (label, item) in self.open {
            if self.step.is_cut() {
                return;
            }
            let told = one(item).await;
            self.step.judged(&label, told);
        }
    }
}

fn settle<T>(
    step: StepHandle,
    labels: Vec<String>,
    items: Vec<T>,
    told: Result<Vec<String>, BoxError>,
) -> Items<T> {
    let open = labels.into_iter().zip(items);
    let open = match told {
        Ok(refused) => {
            let is_refused =
                |label: &String| refused.iter().any(|refused| cut(refused, LABEL_MAX_BYTES) == label);
            let (left, done): (Vec<_>, Vec<_>) = open.partition(|(label, _)| is_refused(label));
            for (label, _) in done {
                step.told(&label, Fate::Done, None);
            }
            left
        }
        Err(error) => {
            crate::events::quietly(
                || tracing::warn!(parent: &step.place.span, %error, "the batch failed: its items are done one by one"),
            );
            open.collect()
        }
    };
    Items { step, open }
}

impl StepHandle {
    fn judged(&self, label: &str, told: Result<(), BoxError>) {
        match told {
            Ok(()) => self.told(label, Fate::Done, None),
            Err(error) => {
                let why = bounded(&error.to_string());
                self.told(label, Fate::Failed(why.clone()), Some(&why));
            }
        }
    }

    /// Keeps what became of an item, and tells it.
    fn told(&self, label: &str, fate: Fate, why: Option<&str>) {
        let outcome = match &fate {
            Fate::Done => "done",
            Fate::Skipped => "skipped",
            Fate::Failed(_) => "failed",
            Fate::Open => "open",
        };
        events::item(&self.place.span, &self.place.name, label, outcome, why);
        let mut audit = self.audit();
        if let Some(known) = audit.fates.get_mut(label) {
            *known = fate;
            return;
        }
        drop(audit);
        match fate {
            Fate::Done => self.done(1),
            Fate::Skipped => self.skipped(1),
            Fate::Failed(_) => self.failed_item(label),
            Fate::Open => {}
        }
    }
}
