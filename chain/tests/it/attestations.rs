//! Attestations: only the auditor's word counts, and only about what is anchored.

use chain::{Attestation, Signer};
use ledger::{Address, Digest, Root, Salt, TreeSize};

use crate::support::{
    STRANGER_KEY,
    epochs::LocalLog,
    refusal,
    world::{OPEN, World, plan},
};

struct Audited {
    world: World,
    attestations: Address,
    log: LocalLog,
    auditor: Signer,
}

impl Audited {
    /// A run of 4 steps, and an auditor who has no part in it.
    async fn new() -> Self {
        let world = World::new().await;
        let plan = plan(&world.writer, chain::DelaySecs(0));
        let attestations = world.writer.deploy(&plan.attestations).await.expect("attestations").address;
        let mut log = world.run(1, OPEN).await;
        world.anchor(&mut log, 4).await;
        Self { world, attestations, log, auditor: Signer::from_hex(STRANGER_KEY).expect("a key") }
    }

    fn statement(&self, salt: u8) -> Attestation {
        Attestation {
            auditor: self.auditor.address(),
            run: self.log.run,
            steps: self.log.tree.size(),
            root: self.log.root(),
            report: Digest::of(b"report"),
            expires_at: None,
            salt: Salt([salt; 32]),
        }
    }

    fn id(&self, attestation: &Attestation) -> Digest {
        attestation.id(self.world.writer.client().chain(), self.attestations)
    }

    async fn attest(&self, attestation: &Attestation, signature: &[u8]) -> Result<chain::Sent, chain::ChainError> {
        let proof = self.log.tree.prove_consistency(attestation.steps, self.log.tree.size()).expect("sizes");
        self.world.writer.attest(self.attestations, attestation, &proof, signature).await
    }

    async fn steps(&self) -> TreeSize {
        let client = self.world.writer.client();
        client.steps_attested(self.attestations, self.log.run, self.auditor.address()).await.expect("an answer")
    }
}

#[tokio::test]
async fn signed_word_stands_until_it_is_revoked() {
    let mut audited = Audited::new().await;
    let said = audited.statement(1);
    let id = audited.id(&said);
    let signature = audited.auditor.sign(id).expect("signed");
    // The run has moved on since the audit.
    let world = &audited.world;
    world.anchor(&mut audited.log, 2).await;
    audited.attest(&said, &signature).await.expect("attested");
    let client = audited.world.writer.client();
    assert!(client.is_attestation_standing(audited.attestations, id).await.expect("an answer"));
    assert_eq!(audited.steps().await, TreeSize(4));
    let revert = refusal(audited.attest(&said, &signature).await);
    assert_eq!(revert.name(), Some("AlreadyKnown"), "{revert}");

    let digest = said.revocation_digest(client.chain(), audited.attestations, "found a bug");
    let signature = audited.auditor.sign(digest).expect("signed");
    let writer = &audited.world.writer;
    let revert = refusal(writer.revoke(audited.attestations, &said, "another reason", &signature).await);
    assert_eq!(revert.name(), Some("NotSignedBy"), "{revert}");
    writer.revoke(audited.attestations, &said, "found a bug", &signature).await.expect("revoked");
    assert!(!client.is_attestation_standing(audited.attestations, id).await.expect("an answer"));
    assert_eq!(audited.steps().await, TreeSize(0));
}

#[tokio::test]
async fn nobody_else_attests_and_nothing_that_is_not_anchored() {
    let audited = Audited::new().await;
    let said = audited.statement(1);
    let id = audited.id(&said);
    let trainer = Signer::anvil_development_key().expect("a key");
    for signature in [vec![], trainer.sign(id).expect("signed").to_vec()] {
        let revert = refusal(audited.attest(&said, &signature).await);
        assert_eq!(revert.name(), Some("NotSignedBy"), "{revert}");
        assert_eq!(revert.arg("digest"), Some(id.to_string().as_str()));
    }
    let mut wrong = said;
    wrong.root = Root([7; 32]);
    let signature = audited.auditor.sign(audited.id(&wrong)).expect("signed");
    let revert = refusal(audited.attest(&wrong, &signature).await);
    assert_eq!(revert.name(), Some("RootNotAnchored"), "{revert}");
    let mut late = said;
    late.expires_at = Some(1);
    let signature = audited.auditor.sign(audited.id(&late)).expect("signed");
    let revert = refusal(audited.attest(&late, &signature).await);
    assert_eq!(revert.name(), Some("Expired"), "{revert}");
    assert_eq!(audited.steps().await, TreeSize(0));
}
