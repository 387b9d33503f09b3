-- What tells one history of the directory from another that was restored from a backup: rows of both bear the same numbers.

ALTER TABLE change_feed ADD COLUMN witness BIGINT NOT NULL DEFAULT 0;  -- random, one per transaction
