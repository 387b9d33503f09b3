-- The password channel's tables, keyed by credential source (connector, anchor).

CREATE TABLE credential (
    connector TEXT NOT NULL,
    anchor TEXT NOT NULL,
    stage TEXT NOT NULL,             -- sealed, wrapped, quarantined, wiped
    chain TEXT NOT NULL,             -- text form of the steps; no secret
    sealed TEXT NOT NULL,            -- key name and AEAD output
    reason TEXT,                     -- of a quarantine
    source_stamp TEXT NOT NULL,      -- keyed MAC of the source value: an equal stamp costs no KDF
    password_set BIGINT,             -- as the source tells it
    version BIGINT NOT NULL,         -- grows with each new password; sessions record it (design D23)
    outdated_at BIGINT,              -- the directory has moved on: barred from failover
    outdated_by TEXT,
    stored_at BIGINT NOT NULL,
    confirmed_at BIGINT NOT NULL,    -- last pass that saw the same stamp
    PRIMARY KEY (connector, anchor)
);
CREATE INDEX credential_stage ON credential (stage);

CREATE TABLE directory_state (       -- account state; written by the password channel alone
    connector TEXT NOT NULL,
    anchor TEXT NOT NULL,
    state TEXT NOT NULL,             -- JSON: instants and schedules
    source_version TEXT NOT NULL,
    observed_at BIGINT NOT NULL,
    PRIMARY KEY (connector, anchor)
);

CREATE TABLE account_refusal (       -- live refusals of the account (not of the password), newest per reason
    connector TEXT NOT NULL,
    anchor TEXT NOT NULL,
    reason TEXT NOT NULL,
    at BIGINT NOT NULL,
    server TEXT NOT NULL,
    PRIMARY KEY (connector, anchor, reason)
);

CREATE TABLE credential_fetch (      -- single-object reads to be done, retried until they succeed
    connector TEXT NOT NULL,
    anchor TEXT NOT NULL,
    reason TEXT NOT NULL,
    queued_at BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    next_at BIGINT NOT NULL,
    PRIMARY KEY (connector, anchor)
);

CREATE TABLE credential_result (     -- what the channel did per account, kept 7 days
    connector TEXT NOT NULL,
    anchor TEXT NOT NULL,
    result TEXT NOT NULL,
    detail TEXT,
    at BIGINT NOT NULL,
    PRIMARY KEY (connector, anchor)
);

CREATE TABLE connector_pass (        -- the channel's progress per connector
    connector TEXT PRIMARY KEY,
    started_at BIGINT NOT NULL,
    completed_at BIGINT,             -- start of the last pass that read the connector to its end
    watermark TEXT,
    error TEXT
);
