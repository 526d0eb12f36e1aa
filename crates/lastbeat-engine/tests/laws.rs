//! Laws: what must hold for any facts in any order. The laws themselves are in `laws/`, so that a wrong rule can be
//! held against them; here they are asked 2,000 times each, and `PROPTEST_CASES=100000` asks more often.

mod laws {
    pub(crate) mod facts;
    pub(crate) mod law;
}
mod stage;

use lastbeat_engine::Rules;
use laws::facts::{any_facts, any_life};
use laws::law;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(2_000)))]

    #[test]
    fn admit_is_a_join(facts in any_facts(), shuffled in any::<u64>()) {
        law::admit_is_a_join(&facts, shuffled).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn any_order_and_any_duplication_of_the_same_facts_give_the_same_verdicts(
        facts in any_facts(), shuffled in any::<u64>()
    ) {
        law::order_is_nothing(&facts, shuffled, &Rules::default()).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn the_cached_verdict_equals_the_rebuilt(facts in any_facts()) {
        law::cached_equals_rebuilt(&facts, &Rules::default()).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn replay_equals_live_byte_for_byte(life in any_life()) {
        law::replay_equals_live(&life, &Rules::default()).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn counts_equal_a_recount(life in any_life()) {
        law::counts_equal_a_recount(&life, &Rules::default()).map_err(TestCaseError::fail)?;
    }
}
