-- Audit (design D25): gapless numbers per node, each row sealed by the hash of the one before.

CREATE TABLE audit_head (
    node TEXT PRIMARY KEY,
    number BIGINT NOT NULL,
    hash TEXT NOT NULL
);

CREATE TABLE audit (
    node TEXT NOT NULL,
    number BIGINT NOT NULL,
    at BIGINT NOT NULL,
    kind TEXT NOT NULL,
    outcome TEXT NOT NULL,
    record TEXT NOT NULL,            -- JSON: actor, subject, reason, detail
    previous_hash TEXT NOT NULL,
    hash TEXT NOT NULL,
    PRIMARY KEY (node, number)
);
CREATE INDEX audit_at ON audit (at);
