-- Staged rollout: a method for a group, or for a share, of a domain.

CREATE TABLE method_rollout (
    id TEXT PRIMARY KEY,
    domain TEXT NOT NULL,
    scope TEXT NOT NULL,             -- share, or group:OID
    group_oid TEXT,
    precedence BIGINT,               -- of a group: the lowest number counts
    drawn BIGINT,                    -- of a group: of ten thousand names that nobody has, how many walk its road
    percent BIGINT,                  -- of a share
    method TEXT NOT NULL,
    partner TEXT,
    added_by TEXT NOT NULL,
    added_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX method_rollout_scope ON method_rollout (domain, scope);
CREATE UNIQUE INDEX method_rollout_precedence ON method_rollout (domain, precedence);
CREATE INDEX method_rollout_group ON method_rollout (group_oid);
