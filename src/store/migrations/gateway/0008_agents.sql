-- Pass-through agents: tokens, agents, certificates, and the nodes that agents connect to.

CREATE TABLE agent_token (
    secret_hash TEXT PRIMARY KEY,    -- SHA-256 of the token's secret
    connector TEXT NOT NULL,
    domains TEXT NOT NULL,           -- JSON array
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT,                  -- a token is used once
    used_by TEXT                     -- the agent
);

CREATE TABLE agent (
    id TEXT PRIMARY KEY,
    connector TEXT NOT NULL,
    domains TEXT NOT NULL,           -- JSON array
    host TEXT NOT NULL,
    software TEXT NOT NULL,
    enrolled_at BIGINT NOT NULL,
    seen_at BIGINT,
    draining BIGINT NOT NULL,
    revoked_at BIGINT
);

CREATE TABLE agent_certificate (
    fingerprint TEXT PRIMARY KEY,    -- SHA-256 of the DER
    agent TEXT NOT NULL,
    issued_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    sealing_key TEXT NOT NULL,       -- hexadecimal digits
    verifying_key TEXT NOT NULL,
    superseded_at BIGINT             -- a newer one was used
);
CREATE INDEX agent_certificate_of ON agent_certificate (agent);

CREATE TABLE gateway_node (
    node TEXT PRIMARY KEY,
    agent_url TEXT NOT NULL,
    seen_at BIGINT NOT NULL
);
