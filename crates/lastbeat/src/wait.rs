//! Waiting without a runtime: on a future, and on anything that rings a pulse.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Instant;

use crate::sender::cut;

/// The longest text kept of an error or a panic, in bytes.
const TEXT_MAX_BYTES: usize = 1_024;

/// A future without its type.
pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future on this thread, at most until then. It brings no timers and no sockets.
pub(crate) fn block_on<F: Future>(future: F, until: Option<Instant>) -> Option<F::Output> {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
        match until {
            None => std::thread::park(),
            Some(until) => {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return None;
                }
                std::thread::park_timeout(left);
            }
        }
    }
}

/// Runs a future until it ends, by itself or by a panic (then the panic's text), or until `cut` does.
pub(crate) async fn caught_or_cut<T>(
    mut future: BoxFuture<T>,
    cut: impl Future<Output = ()>,
) -> Option<Result<T, String>> {
    let mut cut = pin!(cut);
    std::future::poll_fn(move |context| {
        if cut.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        match std::panic::catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Some(Ok(output))),
            Err(payload) => Poll::Ready(Some(Err(panic_text(payload.as_ref())))),
        }
    })
    .await
}

/// The text of a panic, bounded.
pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a text");
    bounded(text)
}

/// A text of somebody else's, cut to what a fact may carry.
pub(crate) fn bounded(text: &str) -> String {
    cut(text, TEXT_MAX_BYTES).to_owned()
}

/// Rings for whoever waits for a condition that others make true.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    lock: Mutex<()>,
    rung: Condvar,
}

impl Pulse {
    /// Something changed. The caller holds no lock that a condition takes.
    pub(crate) fn ring(&self) {
        let _held = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.rung.notify_all();
    }

    /// Waits until the condition holds, at most until then; says whether it held.
    pub(crate) fn wait_until(&self, until: Instant, condition: impl Fn() -> bool) -> bool {
        self.wait_until_moving(|| until, condition)
    }

    /// As [`wait_until`](Self::wait_until), with an end that whoever rings may have moved.
    pub(crate) fn wait_until_moving(
        &self,
        until: impl Fn() -> Instant,
        condition: impl Fn() -> bool,
    ) -> bool {
        let mut held = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if condition() {
                return true;
            }
            let left = until().saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            held = self.rung.wait_timeout(held, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
