-- Version 3. What records say, and what transactions cost.

-- Records of bundles that passed. They are the submitter's word; which of them count is said by the hash, which is under the
-- root: a row is shown for the step on chain that has it, and no other.
CREATE TABLE record (
    run_key BIGINT NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    step BIGINT NOT NULL,
    record_hash {BYTES} NOT NULL,
    -- 32 fractional bits.
    learning_rate BIGINT NOT NULL,
    -- Decimal text, as in the record.
    loss TEXT,
    gradient_norm TEXT,
    prove_ms BIGINT,
    PRIMARY KEY (run_key, step, record_hash)
);

-- Digests of the proofs that these records name.
CREATE TABLE proof (
    run_key BIGINT NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    step BIGINT NOT NULL,
    record_hash {BYTES} NOT NULL,
    chunk BIGINT NOT NULL,
    digest {BYTES} NOT NULL,
    PRIMARY KEY (run_key, step, record_hash, chunk)
);
CREATE INDEX proof_by_digest ON proof (digest);

-- Gas of transactions that anchored epochs: of the whole transaction, in this block. None if the node has no receipt.
CREATE TABLE receipt (
    source_id BIGINT NOT NULL,
    block_number BIGINT NOT NULL,
    tx {BYTES} NOT NULL,
    gas BIGINT,
    PRIMARY KEY (source_id, block_number, tx),
    FOREIGN KEY (source_id, block_number) REFERENCES block (source_id, number) ON DELETE CASCADE
);
