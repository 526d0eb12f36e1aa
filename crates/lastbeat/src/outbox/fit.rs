//! Signals that are too long, cut to what an envelope holds.

use std::io::{self, Write};

use lastbeat_wire::envelope::ENVELOPE_MAX_BYTES;
use lastbeat_wire::signal::{Final, Signal, StepOutcome};

/// Room left in an envelope for everything around the signal: names, numbers, punctuation.
const FRAME_BYTES: usize = 1_024;
/// The largest signal kept, in bytes of JSON.
const SIGNAL_MAX_BYTES: usize = ENVELOPE_MAX_BYTES - FRAME_BYTES;

/// Brings a signal under the limit of an envelope; none when that cannot be. Only three can grow with
/// what the host has: a final, the output's tail and what was left behind.
pub(super) fn fit(signal: Signal) -> Option<Signal> {
    if fits(&signal) {
        return Some(signal);
    }
    match signal {
        Signal::Final(mut fin) => {
            for shorten in SHORTENINGS {
                shorten(&mut fin);
                let signal = Signal::Final(fin);
                if fits(&signal) {
                    return Some(signal);
                }
                let Signal::Final(again) = signal else { return None };
                fin = again;
            }
            None
        }
        Signal::OutputTail(mut tail) => {
            while !tail.lines.is_empty() {
                tail.lines.remove(0);
                let signal = Signal::OutputTail(tail.clone());
                if fits(&signal) {
                    return Some(signal);
                }
            }
            None
        }
        Signal::LeftBehind(mut left) => {
            left.children.truncate(64);
            Some(Signal::LeftBehind(left)).filter(fits)
        }
        _ => None,
    }
}

fn fits(signal: &Signal) -> bool {
    let mut room = Room(SIGNAL_MAX_BYTES);
    serde_json::to_writer(&mut room, signal).is_ok()
}

/// Takes so many bytes and keeps none of them: what is too long is not put together to find that out.
struct Room(usize);

impl Write for Room {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::WriteZero)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a final that is too long gives up, mildest first; the outcomes that decide its class go last.
const SHORTENINGS: [fn(&mut Final); 4] = [
    |fin| {
        for step in fin.cleanup.iter_mut().flat_map(|cleanup| &mut cleanup.steps) {
            step.failed_items.clear();
            step.error = step.error.take().map(|text| crate::sender::cut(&text, 80).to_owned());
        }
    },
    |fin| {
        if let Some(cleanup) = &mut fin.cleanup {
            cleanup.steps.retain(|step| step.outcome != Some(StepOutcome::Ok));
        }
    },
    |fin| {
        if let Some(cleanup) = &mut fin.cleanup {
            let unnamed = cleanup.abandoned.len().saturating_sub(16);
            cleanup.abandoned.truncate(16);
            cleanup.untracked += unnamed as u64;
            cleanup.steps.truncate(16);
        }
    },
    |fin| {
        if let Some(cleanup) = &mut fin.cleanup {
            cleanup.steps.iter_mut().for_each(|step| step.error = None);
        }
        if let Some(sender) = fin.cause.as_mut().and_then(|cause| cause.sender.as_mut()) {
            sender.cmdline = None;
        }
    },
];
