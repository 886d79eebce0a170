//! Step proofs under a memory limit: the same proofs, less that is kept, or a refusal before anything is made.

use circuits::keys::{EngineError, MemoryLimit, StepError, StepProvingKey};
use ledger::Rule;
use rand::{SeedableRng, rngs::StdRng};

use crate::support::{key, seeds, shape, steps};

const RULES: [Rule; 2] = [Rule::AdamW, Rule::Sgd];

#[test]
fn a_limit_changes_what_is_kept_and_not_the_proof() {
    for rule in RULES {
        let key = key(rule);
        let step = steps(rule, 2).remove(1);
        let (input, output) = seeds(1, 1, 0);
        let prove = |pk: &StepProvingKey| {
            let rng = StdRng::seed_from_u64(4);
            pk.prove(&key.params, step.witness(rule), &step.instances, (&input, &output), rng).expect("proves")
        };
        let within = |limit| StepProvingKey::generate_within(&key.params, &shape(rule), MemoryLimit(limit));
        let expected = prove(&key.pk);
        let roomy = within(u64::MAX).expect("fits");
        assert_eq!(roomy.cached_bytes(), key.pk.cached_bytes(), "{rule:?}: as without a limit");
        assert!(roomy.cached_bytes() > 0 && prove(&roomy) == expected, "{rule:?}");

        let refused = within(1_000_000).expect_err("too little");
        let need = match &refused {
            StepError::Engine(EngineError::Memory { limit: MemoryLimit(1_000_000), need }) => *need,
            other => panic!("{rule:?}: {other}"),
        };
        let text = refused.to_string();
        assert!(text.contains("1000000") && text.contains(&need.to_string()), "{text}");
        let least = within(need).expect("what is needed is enough");
        assert_eq!(least.cached_bytes(), 0, "{rule:?}");
        assert!(prove(&least) == expected, "{rule:?}: with the least memory");
        assert!(within(need - 1).is_err(), "{rule:?}");
    }
}
