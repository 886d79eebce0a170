-- Version 5. What of a run every list asks for, kept beside it: `index/settle.rs` computes it from all else whenever
-- something of the run changes.

ALTER TABLE run ADD COLUMN status TEXT NOT NULL DEFAULT 'unconfirmed';
-- Of the first registration; none: the run is not registered, and not listed.
ALTER TABLE run ADD COLUMN registered_time BIGINT;
ALTER TABLE run ADD COLUMN policy {BYTES};
ALTER TABLE run ADD COLUMN parent {BYTES};
-- Its owner now.
ALTER TABLE run ADD COLUMN owner {BYTES};
CREATE INDEX run_by_registered_time ON run (registered_time, id);
CREATE INDEX run_by_size ON run (size, id);
CREATE INDEX run_by_anchored_time ON run (anchored_time, id);
CREATE INDEX run_by_parent ON run (parent);
