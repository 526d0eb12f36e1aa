//! The keeper: one thread that owns the roster and the writing side of the journal.
//!
//! Its round: drain what waits, put the durable facts into one transaction, step the roster, answer, and
//! only when nothing waits any more advance time. A slow disk may so delay a verdict, but cannot invent a
//! death. `batch` is the way of facts, `orders` that of operators, `watch` the way of time; `inbox` is how things
//! get here.
//!
//! Invariant: the roster never holds what the journal does not, plain beats and open links apart.

mod batch;
pub(crate) mod inbox;
pub(crate) mod orders;
mod telling;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use lastbeat_engine::{Fact, Moment, Proposal, Roster, Rules};
use lastbeat_wire::envelope::decode_signal;
use lastbeat_wire::{Name, RunId, Source};
use tokio::sync::oneshot;
use tokio::sync::watch::{Receiver as Published, Sender as Publisher};
use tracing::{error, info, warn};

use self::batch::Submission;
use self::inbox::{Message, Receiver, Waiting};
use crate::clock::Clock;
use crate::counters::Counters;
use crate::ingest::translate;
use crate::journal::{Journal, JournalError, Opening, StoredFact};
use crate::snapshot::Snapshot;

/// The most envelopes of one transaction; what waits behind them is the next, before time advances.
const BATCH_MAX: usize = 4_096;
/// The longest sleep: deadlines and absences are noticed within this time.
pub(crate) const TICK: Duration = Duration::from_millis(250);
/// Snapshots of facts take at most one part in this many of the keeper's time: at once for a small fleet,
/// so that who reads after an ack sees what was acknowledged; further apart the longer one takes.
const PUBLISH_SHARE: u64 = 20;
/// Beats alone move only last-seen; that is shown this often.
const PUBLISH_BEATS_EVERY_MS: u64 = 500;
/// Observations that wait for a journal which cannot write now; beyond, silence alone has to tell.
const UNWRITTEN_MAX: usize = 65_536;

/// What has changed since the last snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Dirty {
    /// Nothing.
    No,
    /// When somebody was last heard.
    Beats,
    /// A fact, a link or a deadline.
    Facts,
}

/// Owner of roster and journal.
pub(crate) struct Keeper {
    journal: Journal,
    roster: Roster,
    rules: Rules,
    /// What every deadline is multiplied by.
    scale: f64,
    clock: Clock,
    counters: Arc<Counters>,
    collector_id: RunId,
    /// Counts of the collector's own facts that the journal holds and the roster does not know of: the replay had to skip a
    /// fact that a newer version wrote, or the run was forgotten in between.
    skipped: HashMap<(lastbeat_engine::RunId, lastbeat_engine::Source), u64>,
    /// The end of what is known to have been watched; the start of the next absence.
    watched_until: Moment,
    /// When the newest pulse was taken: until then it heard what was said. A punctual keeper behind tasks that
    /// starve, with the facts still in their sockets, is an absent observer too.
    pulsed: Moment,
    /// A gap longer than this is an absence of the observer (D6).
    absence_ms: u64,
    /// Judging has begun: all that waited on disk at the start was read.
    watching: bool,
    /// An absence is known and not in the journal yet: nothing is judged before it is.
    owes_absence: bool,
    /// The last round could not judge what was due; waking for it at once would not help.
    balked: bool,
    /// It was told to stop; what waits is still taken.
    stopping: bool,
    /// Silence is not judged before this.
    recovering_until: Moment,
    /// What was observed and is not in the journal yet.
    unwritten: VecDeque<(Moment, Proposal)>,
    /// When the axis was last marked.
    marked: Moment,
    dirty: Dirty,
    published_at: Moment,
    /// How long the last snapshot took.
    publish_took_ms: u64,
    publisher: Publisher<Arc<Snapshot>>,
}

impl Keeper {
    /// A keeper of an opened journal, with an empty roster until [`Keeper::run`].
    pub(crate) fn new(
        journal: Journal,
        opening: Opening,
        clock: Clock,
        rules: Rules,
        scale: f64,
        counters: Arc<Counters>,
    ) -> Self {
        let started = clock.started();
        let roster = Roster::new(rules.clone());
        let empty = Snapshot { roster: roster.snapshot(), recovering_until: started, journal_broken: false };
        Self {
            journal,
            roster,
            absence_ms: watch::absence_ms(scale),
            rules,
            scale,
            clock,
            counters,
            collector_id: opening.collector_id,
            skipped: HashMap::new(),
            // In a fresh journal nobody was watched before: there is no absence to tell of.
            owes_absence: opening.last_mark.is_some(),
            watched_until: opening.last_mark.map_or(started, |mark| mark.moment),
            pulsed: started,
            watching: false,
            balked: false,
            stopping: false,
            recovering_until: started,
            unwritten: VecDeque::new(),
            marked: started,
            dirty: Dirty::Facts,
            published_at: started,
            publish_took_ms: 0,
            publisher: Publisher::new(Arc::new(empty)),
        }
    }

    /// Where the snapshots appear.
    pub(crate) fn subscribe(&self) -> Published<Arc<Snapshot>> {
        self.publisher.subscribe()
    }

    /// Replays the journal, then keeps until it is told to stop; the last commit is done when it returns.
    pub(crate) fn run(mut self, mail: &Receiver) -> Result<(), JournalError> {
        self.replay()?;
        self.publish();
        while self.round(mail) {}
        self.mark_axis();
        self.publish();
        info!("the keeper committed all it had taken");
        Ok(())
    }

    /// Rebuilds the roster from all facts, in the order of the journal; time stands still meanwhile.
    pub(crate) fn replay(&mut self) -> Result<(), JournalError> {
        let (mut replayed, mut unreadable) = (0_u64, 0_u64);
        let scale = self.scale;
        let (roster, skipped, counters) = (&mut self.roster, &mut self.skipped, &self.counters);
        self.journal.replay(|row| {
            let fact = row.map_err(|error| error.to_string()).and_then(|stored| {
                let (id, live) = (stored.id, stored.live);
                let fact = fact(stored, scale);
                if fact.is_err() && matches!(id.source, Source::Observer | Source::Operator) {
                    let counter = (translate::run(id.run_id), translate::source(id.source));
                    let highest = skipped.entry(counter).or_default();
                    *highest = id.seq.max(*highest);
                }
                Ok((fact?, live))
            });
            match fact {
                Ok((fact, live)) => {
                    roster.step(&fact);
                    if live {
                        // What it proposes was journaled when it was proposed.
                        let _ = roster.heard(fact.id.run, fact.id.source, fact.taken);
                    }
                    replayed += 1;
                }
                Err(error) => {
                    unreadable += 1;
                    counters.unreadable_rows.bump();
                    warn!(%error, "a row of the journal cannot be read and is skipped");
                }
            }
        })?;
        info!(facts = replayed, unreadable, "replayed the journal");
        Ok(())
    }

    /// Takes what waits, then judges; false when it was told to stop and nothing waits any more.
    fn round(&mut self, mail: &Receiver) -> bool {
        let (mut submissions, mut orders, mut shows, mut watch) = (Vec::new(), Vec::new(), Vec::new(), None);
        let (mut weight, mut more) = (0, false);
        let mut first = match mail.recv_timeout(self.sleep()) {
            Ok(waiting) => Some(waiting),
            Err(RecvTimeoutError::Timeout) => None,
            // All senders are gone: nobody can say anything any more.
            Err(RecvTimeoutError::Disconnected) => return false,
        };
        while let Some(Waiting { message, .. }) = first.take().or_else(|| mail.try_recv().ok()) {
            let taken = self.clock.now();
            match message {
                Message::Facts { envelopes, via, reply } => {
                    weight += envelopes.len();
                    submissions.push(Submission::Facts { taken, envelopes, via, reply });
                }
                Message::Unlinked { link, voices } => {
                    weight += voices.len();
                    submissions.push(Submission::Unlinked { taken, link, voices });
                }
                Message::Order { order, reply } => {
                    weight += 1;
                    orders.push((taken, order, reply));
                }
                Message::Show { shown } => {
                    weight += 1;
                    shows.push(shown);
                }
                Message::Watch { done } => watch = Some(done),
                Message::Pulse { taken: told } => {
                    self.pulsed = taken;
                    // Dropped when the collector goes.
                    let _ = told.send(());
                }
                Message::Stop => self.stopping = true,
            }
            if weight >= BATCH_MAX {
                more = true;
                break;
            }
        }
        self.take(submissions);
        for (taken, order, reply) in orders {
            // The one who ordered may have gone; what was journaled stays journaled.
            let _ = reply.send(self.obey(taken, order));
        }
        self.show(shows);
        if let Some(done) = watch {
            self.begin_to_watch(done);
        }
        if !more && !self.stopping && self.watching {
            self.balked = !self.judge();
        }
        self.tend_journal();
        self.publish_when_due();
        more || !self.stopping
    }

    /// Ends the absence that began with the last mark, and begins to judge.
    fn begin_to_watch(&mut self, done: oneshot::Sender<()>) {
        self.watching = true;
        self.pulsed = self.clock.now();
        if self.owes_absence {
            // What could not be written now is owed, and tried again before anything is judged.
            self.come_back();
        } else {
            self.watched_until = self.pulsed;
        }
        // Dropped when the start was given up; then nobody waits.
        let _ = done.send(());
    }

    fn sleep(&self) -> Duration {
        let now = self.clock.now();
        let next = if self.watching && !self.balked { self.roster.next_deadline() } else { None };
        let until_deadline = next.map_or(TICK, |due| Duration::from_millis(due.since(now).max(1)));
        let until_shown = match self.dirty {
            Dirty::No => TICK,
            Dirty::Beats => self.shown_in(now, PUBLISH_BEATS_EVERY_MS),
            Dirty::Facts => self.shown_in(now, self.publish_took_ms * PUBLISH_SHARE),
        };
        TICK.min(until_deadline).min(until_shown)
    }

    fn shown_in(&self, now: Moment, every_ms: u64) -> Duration {
        Duration::from_millis(every_ms.saturating_sub(now.since(self.published_at)).max(1))
    }

    /// What a person waits for is shown at once, unless facts stream in.
    pub(super) fn publish_when_due(&mut self) {
        let every_ms = match self.dirty {
            Dirty::No => return,
            Dirty::Beats => PUBLISH_BEATS_EVERY_MS,
            Dirty::Facts => self.publish_took_ms * PUBLISH_SHARE,
        };
        if self.clock.now().since(self.published_at) >= every_ms {
            self.publish();
        }
    }

    fn publish(&mut self) {
        let begun = self.clock.now();
        self.dirty = Dirty::No;
        self.publisher.send_replace(Arc::new(Snapshot {
            roster: self.roster.snapshot(),
            recovering_until: self.recovering_until,
            journal_broken: self.journal.is_read_only(),
        }));
        self.published_at = self.clock.now();
        self.publish_took_ms = self.published_at.since(begun);
    }

    /// Shows what is known to those who cannot wait for the next snapshot.
    fn show(&mut self, shows: Vec<oneshot::Sender<()>>) {
        if !shows.is_empty() && self.dirty == Dirty::Facts {
            self.publish();
        }
        for shown in shows {
            // Dropped when nobody waits any more.
            let _ = shown.send(());
        }
    }

    fn soil(&mut self, dirty: Dirty) {
        self.dirty = self.dirty.max(dirty);
    }

    fn tend_journal(&mut self) {
        self.mark_axis_when_due();
        if let Err(failure) = self.journal.tend() {
            self.tell_of(&failure);
        }
    }

    /// Logs a failed write; the journal itself knows whether another may be tried.
    fn tell_of(&mut self, failure: &JournalError) {
        self.counters.journal_failures.bump();
        self.soil(Dirty::Facts);
        let cause = std::error::Error::source(failure).map(ToString::to_string);
        error!(error = %failure, cause, read_only = self.journal.is_read_only(), "the journal did not take a batch");
    }
}

/// A stored fact as the engine takes it.
fn fact(stored: StoredFact, scale: f64) -> Result<Fact, String> {
    let signal = decode_signal(&stored.signal_json).map_err(|refusal| refusal.to_string())?;
    let what = translate::what(signal, scale).ok_or("a plain beat is no fact")?;
    for name in [&stored.service, &stored.worker] {
        Name::new(name).map_err(|refusal| refusal.to_string())?;
    }
    Ok(Fact {
        id: translate::fact_id(stored.id),
        service: stored.service.into(),
        worker: stored.worker.into(),
        taken: stored.taken,
        age_ms: stored.age_ms,
        what,
    })
}
