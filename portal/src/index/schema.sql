-- Version 1. One text for SQLite and PostgreSQL: {KEY} and {BYTES} are replaced by the words of either.
-- Everything that the chain said hangs on its block and goes with it; all else is computed from that.

-- A RunAnchor on a chain, and how far it was read.
CREATE TABLE source (
    id {KEY},
    chain_id BIGINT NOT NULL,
    contract {BYTES} NOT NULL,
    first_block BIGINT NOT NULL,
    block_number BIGINT,
    block_hash {BYTES},
    -- The Attestations whose events were read with the anchor's.
    attestations {BYTES},
    UNIQUE (chain_id, contract)
);

-- Blocks that hold events, and the last ones that reading stopped at.
CREATE TABLE block (
    source_id BIGINT NOT NULL REFERENCES source (id) ON DELETE CASCADE,
    number BIGINT NOT NULL,
    hash {BYTES} NOT NULL,
    time BIGINT NOT NULL,
    PRIMARY KEY (source_id, number)
);

-- A run that some event names, and what its events amount to so far.
CREATE TABLE run (
    id {KEY},
    source_id BIGINT NOT NULL REFERENCES source (id) ON DELETE CASCADE,
    run_id {BYTES} NOT NULL,
    -- Epochs that follow one another from the first step on.
    counter BIGINT NOT NULL DEFAULT 0,
    size BIGINT NOT NULL DEFAULT 0,
    root {BYTES},
    state {BYTES},
    peaks {BYTES},
    -- Epochs beyond these, and when the last epoch of all was anchored: kept, because every list asks for them.
    n_ahead BIGINT NOT NULL DEFAULT 0,
    anchored_time BIGINT NOT NULL DEFAULT 0,
    -- Why the next epoch does not follow, though it is there.
    fault TEXT,
    -- The contract's own word, and the block at which it was given.
    confirmed_counter BIGINT,
    confirmed_block BIGINT,
    -- The block at which it was last asked for.
    asked_block BIGINT,
    frozen BIGINT NOT NULL DEFAULT 0,
    UNIQUE (source_id, run_id)
);
CREATE INDEX run_by_id ON run (run_id);
CREATE INDEX run_by_root ON run (root);
CREATE INDEX run_by_question ON run (source_id, asked_block);

CREATE TABLE registered (
    source_id BIGINT NOT NULL,
    block_number BIGINT NOT NULL,
    log_index BIGINT NOT NULL,
    tx {BYTES} NOT NULL,
    run_key BIGINT NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    owner {BYTES} NOT NULL,
    selector {BYTES} NOT NULL,
    genesis_state {BYTES} NOT NULL,
    policy {BYTES} NOT NULL,
    salt {BYTES} NOT NULL,
    parent {BYTES},
    PRIMARY KEY (source_id, block_number, log_index),
    FOREIGN KEY (source_id, block_number) REFERENCES block (source_id, number) ON DELETE CASCADE
);
CREATE INDEX registered_by_run ON registered (run_key);
CREATE INDEX registered_by_owner ON registered (owner);
CREATE INDEX registered_by_parent ON registered (parent);
CREATE INDEX registered_by_tx ON registered (tx);

CREATE TABLE epoch (
    source_id BIGINT NOT NULL,
    block_number BIGINT NOT NULL,
    log_index BIGINT NOT NULL,
    tx {BYTES} NOT NULL,
    run_key BIGINT NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    counter BIGINT NOT NULL,
    first_step BIGINT NOT NULL,
    size BIGINT NOT NULL,
    state_in {BYTES} NOT NULL,
    state_out {BYTES} NOT NULL,
    root {BYTES} NOT NULL,
    verifier {BYTES} NOT NULL,
    submitter {BYTES} NOT NULL,
    PRIMARY KEY (source_id, block_number, log_index),
    FOREIGN KEY (source_id, block_number) REFERENCES block (source_id, number) ON DELETE CASCADE
);
CREATE INDEX epoch_by_run ON epoch (run_key, counter);
CREATE INDEX epoch_by_root ON epoch (root);
CREATE INDEX epoch_by_state ON epoch (state_out);
CREATE INDEX epoch_by_tx ON epoch (tx);

CREATE TABLE step (
    source_id BIGINT NOT NULL,
    block_number BIGINT NOT NULL,
    log_index BIGINT NOT NULL,
    position BIGINT NOT NULL,
    run_key BIGINT NOT NULL,
    step BIGINT NOT NULL,
    digest {BYTES} NOT NULL,
    record_hash {BYTES} NOT NULL,
    PRIMARY KEY (source_id, block_number, log_index, position),
    FOREIGN KEY (source_id, block_number, log_index)
        REFERENCES epoch (source_id, block_number, log_index) ON DELETE CASCADE
);
CREATE INDEX step_by_run ON step (run_key, step);
CREATE INDEX step_by_record ON step (record_hash);
CREATE INDEX step_by_digest ON step (digest);

CREATE TABLE finalized (
    source_id BIGINT NOT NULL,
    block_number BIGINT NOT NULL,
    log_index BIGINT NOT NULL,
    tx {BYTES} NOT NULL,
    run_key BIGINT NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    counter BIGINT NOT NULL,
    size BIGINT NOT NULL,
    state {BYTES} NOT NULL,
    root {BYTES} NOT NULL,
    PRIMARY KEY (source_id, block_number, log_index),
    FOREIGN KEY (source_id, block_number) REFERENCES block (source_id, number) ON DELETE CASCADE
);
CREATE INDEX finalized_by_run ON finalized (run_key);
CREATE INDEX finalized_by_tx ON finalized (tx);

CREATE TABLE announced (
    source_id BIGINT NOT NULL,
    block_number BIGINT NOT NULL,
    log_index BIGINT NOT NULL,
    tx {BYTES} NOT NULL,
    run_key BIGINT NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    size BIGINT NOT NULL,
    manifest_digest {BYTES} NOT NULL,
    infohash_v1 {BYTES} NOT NULL,
    infohash_v2 {BYTES} NOT NULL,
    announcer {BYTES} NOT NULL,
    PRIMARY KEY (source_id, block_number, log_index),
    FOREIGN KEY (source_id, block_number) REFERENCES block (source_id, number) ON DELETE CASCADE
);
CREATE INDEX announced_by_run ON announced (run_key);
CREATE INDEX announced_by_infohash_v1 ON announced (infohash_v1);
CREATE INDEX announced_by_infohash_v2 ON announced (infohash_v2);
CREATE INDEX announced_by_tx ON announced (tx);

-- Who may act for a run. kind: granted, withdrawn (a submitter), proposed, owner.
CREATE TABLE role (
    source_id BIGINT NOT NULL,
    block_number BIGINT NOT NULL,
    log_index BIGINT NOT NULL,
    tx {BYTES} NOT NULL,
    run_key BIGINT NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    by_account {BYTES} NOT NULL,
    account {BYTES} NOT NULL,
    PRIMARY KEY (source_id, block_number, log_index),
    FOREIGN KEY (source_id, block_number) REFERENCES block (source_id, number) ON DELETE CASCADE
);
CREATE INDEX role_by_run ON role (run_key);
CREATE INDEX role_by_account ON role (account);
CREATE INDEX role_by_tx ON role (tx);

-- What auditors said of a run. kind: attested, revoked.
CREATE TABLE audited (
    source_id BIGINT NOT NULL,
    block_number BIGINT NOT NULL,
    log_index BIGINT NOT NULL,
    tx {BYTES} NOT NULL,
    run_key BIGINT NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    attestation {BYTES} NOT NULL,
    auditor {BYTES} NOT NULL,
    size BIGINT,
    root {BYTES},
    report {BYTES},
    expires_at BIGINT,
    reason TEXT,
    PRIMARY KEY (source_id, block_number, log_index),
    FOREIGN KEY (source_id, block_number) REFERENCES block (source_id, number) ON DELETE CASCADE
);
CREATE INDEX audited_by_run ON audited (run_key);
CREATE INDEX audited_by_auditor ON audited (auditor);
CREATE INDEX audited_by_attestation ON audited (attestation);
CREATE INDEX audited_by_tx ON audited (tx);

-- Bundles that were checked in full, and how that went. Not a status: that is computed.
CREATE TABLE verification (
    run_key BIGINT NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    manifest_digest {BYTES} NOT NULL,
    size BIGINT NOT NULL,
    root {BYTES} NOT NULL,
    failure TEXT,
    version TEXT NOT NULL,
    checked_at BIGINT NOT NULL,
    PRIMARY KEY (run_key, manifest_digest)
);

-- What a webhook's receiver took last of a run: a digest of the message. Rows outlive runs, so that the end of one is told.
CREATE TABLE told (
    hook TEXT NOT NULL,
    chain_id BIGINT NOT NULL,
    contract {BYTES} NOT NULL,
    run_id {BYTES} NOT NULL,
    digest {BYTES} NOT NULL,
    PRIMARY KEY (hook, chain_id, contract, run_id)
);
