//! How the open streams of this run end: what the final heartbeat says of them.

use std::sync::atomic::{AtomicU64, Ordering};

/// How one came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// It said goodbye, all of it was written out, and its connection ended in order.
    Farewell,
    /// This run ended it without that.
    Cut,
    /// Its client went away by itself. No error, whenever it does.
    ClientLeft,
    /// Whoever served it came to its end.
    Finished,
}

/// The streams of a run.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    open: AtomicU64,
    farewell: AtomicU64,
    cut: AtomicU64,
    client_left: AtomicU64,
}

/// What has become of the streams of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) farewell: u64,
    pub(crate) cut: u64,
    pub(crate) client_left: u64,
}

impl Streams {
    /// One more is open.
    pub(crate) fn open(&self) {
        self.open.fetch_add(1, Ordering::AcqRel);
    }

    /// One of those that were open has ended.
    pub(crate) fn end(&self, how: How) {
        let counter = match how {
            How::Farewell => Some(&self.farewell),
            How::Cut => Some(&self.cut),
            How::ClientLeft => Some(&self.client_left),
            How::Finished => None,
        };
        // Counted before it is no longer open: nobody who looks in between misses it.
        if let Some(counter) = counter {
            counter.fetch_add(1, Ordering::AcqRel);
        }
        self.open.fetch_sub(1, Ordering::AcqRel);
    }

    /// The tally at the end of the run: what is open now ends with the process, and that is a cut.
    pub(crate) fn at_the_end(&self) -> Tally {
        // Read first, so that one that ends in between is rather counted twice than never.
        let open = self.open.load(Ordering::Acquire);
        let tally = self.tally();
        Tally { cut: tally.cut + open, ..tally }
    }

    /// The tally so far.
    pub(crate) fn tally(&self) -> Tally {
        Tally {
            farewell: self.farewell.load(Ordering::Acquire),
            cut: self.cut.load(Ordering::Acquire),
            client_left: self.client_left.load(Ordering::Acquire),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_at_the_end_of_the_run_is_cut_by_it() {
        let streams = Streams::default();
        (0..5).for_each(|_| streams.open());
        for how in [How::Farewell, How::Cut, How::ClientLeft, How::Finished] {
            streams.end(how);
        }
        assert_eq!(streams.tally(), Tally { farewell: 1, cut: 1, client_left: 1 });
        assert_eq!(streams.at_the_end(), Tally { farewell: 1, cut: 2, client_left: 1 });
    }
}
