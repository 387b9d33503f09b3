-- Who asked for a run, and runs by age.

ALTER TABLE sync_run ADD COLUMN asked_by TEXT NOT NULL DEFAULT 'schedule';
CREATE INDEX sync_run_started ON sync_run (started_at);
