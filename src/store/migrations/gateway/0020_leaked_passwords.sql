-- Stored passwords that are on the list of leaked ones, and why a pass could not look.

ALTER TABLE credential ADD COLUMN leaked_at BIGINT;         -- when it was found; NULL: not found, or not looked for
ALTER TABLE credential ADD COLUMN leaked_class TEXT;        -- how often it was met: 1, 2-9, 10-99, 100-999, 1000+
CREATE INDEX credential_leaked ON credential (leaked_at) WHERE leaked_at IS NOT NULL;

ALTER TABLE connector_pass ADD COLUMN leaked_error TEXT;    -- why the last whole pass could not look into the list
