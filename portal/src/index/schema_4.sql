-- Version 4. What policies say.

-- A policy's words, from a bundle that passed. Its digest is on chain and is made of these words, so a row is true whatever the
-- chain does.
CREATE TABLE policy (
    digest {BYTES} PRIMARY KEY,
    rule TEXT NOT NULL,
    n_params BIGINT NOT NULL,
    -- Canonical JSON.
    words TEXT NOT NULL
);
