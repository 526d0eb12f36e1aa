//! Pauses between two tries: of a dial, of a step.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

/// The pause after so many failures: twice as long each time up to the longest, the later half of it by chance, so
/// that a fleet that lost something at one moment does not come back at one moment.
pub(crate) fn pause(first: Duration, longest: Duration, failures: u32) -> Duration {
    let doubled = first.saturating_mul(1 << failures.min(10)).min(longest);
    doubled / 2 + (doubled / 2).mul_f64(chance())
}

/// A number in [0, 1) from the randomness that std seeds its maps with.
fn chance() -> f64 {
    let bits = u32::try_from(RandomState::new().hash_one(0) >> 32).unwrap_or(0);
    f64::from(bits) / 4_294_967_296.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_never_beyond_and_at_least_half_of_each_is_kept() {
        let (first, longest) = (Duration::from_millis(50), Duration::from_secs(3));
        let pauses: Vec<Duration> = (0..20).map(|failures| pause(first, longest, failures)).collect();
        assert!(pauses[0] >= first / 2 && pauses[0] <= first);
        assert!(pauses.iter().all(|pause| *pause <= longest), "{pauses:?}");
        assert!(pauses[19] >= longest / 2, "{pauses:?}");
    }
}
