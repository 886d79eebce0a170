-- Version 2. Bundles that came to a portal.

-- A run's directory in a portal's folder, and how far its check is. Which bundles hold is in `verification`.
CREATE TABLE arrival (
    -- The portal's folder: several portals may share one index.
    folder TEXT NOT NULL,
    name TEXT NOT NULL,
    run_key BIGINT NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    manifest_digest {BYTES},
    state TEXT NOT NULL,
    -- Why it stands there; what is being checked.
    detail TEXT,
    -- Step proofs that were verified, of how many.
    done BIGINT NOT NULL,
    total BIGINT NOT NULL,
    -- Lines of the report, JSON.
    report TEXT NOT NULL,
    changed_at BIGINT NOT NULL,
    PRIMARY KEY (folder, name, run_key)
);
CREATE INDEX arrival_by_run ON arrival (run_key);
