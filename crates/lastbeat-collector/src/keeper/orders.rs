//! The way of orders: what operators announce, take back and strike off the list.
//!
//! An order becomes a fact about no single run, which the collector says on the operator's behalf: journaled, then
//! stepped, then shown, then answered. Each costs a commit and a snapshot; people and pipelines give few.
//!
//! Invariant: an order that is refused leaves nothing.

use lastbeat_engine::fact::{Forget, Plan, PlanEnd};
use lastbeat_engine::plan::Window;
use lastbeat_engine::roster::PLANS_MAX;
use lastbeat_engine::{Moment, Run, Source, What};
use lastbeat_wire::{Code, Refusal};

use super::{Dirty, Keeper};
use crate::snapshot::Snapshot;

/// What an operator wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Order {
    /// Work is planned from now on.
    Plan(Plan),
    /// A plan is over now.
    EndPlan(PlanEnd),
    /// A worker that is gone leaves the list.
    Forget(Forget),
}

/// What became of an order: the window it made or ended; none of a worker that left.
pub(crate) type Ordered = Result<Option<Window>, Refusal>;

impl Keeper {
    /// Carries out one order.
    pub(super) fn obey(&mut self, taken: Moment, order: Order) -> Ordered {
        // It is judged by what is known, not by what was shown a while ago.
        if self.dirty == Dirty::Facts {
            self.publish();
        }
        let known = self.publisher.borrow().clone();
        let (about, what) = match order {
            Order::Plan(plan) => {
                let open = known.roster.windows().iter().filter(|window| window.holds(taken)).count();
                if open >= PLANS_MAX {
                    return Err(Refusal::new(Code::TooManyPlans, format!("{open} plans are open")));
                }
                (Some(plan.id.clone()), What::Plan(plan))
            }
            Order::EndPlan(end) => {
                let window = window(&known, &end.id);
                let window =
                    window.ok_or_else(|| Refusal::new(Code::UnknownPlan, "there is no such plan"))?;
                if window.until <= taken {
                    return Ok(Some(window.clone()));
                }
                (Some(end.id.clone()), What::PlanEnd(end))
            }
            Order::Forget(forget) => {
                let worker = known.roster.worker(&forget.service, &forget.worker);
                let worker = worker.ok_or_else(|| Refusal::new(Code::NotFound, "there is no such worker"))?;
                if !worker.runs().all(Run::ended) {
                    return Err(Refusal::new(Code::RunOpen, "a run of this worker has not ended"));
                }
                (None, What::Forget(forget))
            }
        };
        self.write_order(taken, what)?;
        self.publish();
        let shown = self.publisher.borrow();
        Ok(about.and_then(|id| window(&shown, &id).cloned()))
    }

    fn write_order(&mut self, taken: Moment, what: What) -> Result<(), Refusal> {
        let mut facts: Vec<_> = self.about_none(Source::Operator, taken, what).into_iter().collect();
        self.number(&mut facts);
        if facts.is_empty() {
            return Err(Refusal::new(Code::Internal, "the order has no form in the journal"));
        }
        match self.write_facts(facts) {
            Ok(refused) if refused.is_empty() => Ok(()),
            Ok(_) => Err(Refusal::new(Code::Internal, "the order's count was used before")),
            Err(_) => Err(Refusal::new(Code::JournalUnavailable, "the journal cannot be written")),
        }
    }
}

fn window<'a>(known: &'a Snapshot, id: &str) -> Option<&'a Window> {
    known.roster.windows().iter().find(|window| *window.plan.id == *id)
}
