-- Changes of methods as a procedure, and how tries at passwords end.

CREATE TABLE method_change (
    id TEXT PRIMARY KEY,
    domain TEXT NOT NULL,
    state TEXT NOT NULL,             -- proposed, scheduled, canary; done, cancelled, expired, failed, rolled-back
    body TEXT NOT NULL,              -- JSON: the change
    asked_at BIGINT NOT NULL,
    version BIGINT NOT NULL          -- a step is taken once
);
CREATE INDEX method_change_domain ON method_change (domain, asked_at);
CREATE INDEX method_change_state ON method_change (state);
CREATE UNIQUE INDEX method_change_open ON method_change (domain) WHERE state IN ('proposed', 'scheduled', 'canary');

CREATE TABLE sign_in_minute (        -- added up by each node for itself
    node TEXT NOT NULL,
    domain TEXT NOT NULL,
    method TEXT NOT NULL,
    minute BIGINT NOT NULL,          -- since 1970
    admitted BIGINT NOT NULL,
    refused BIGINT NOT NULL,
    unknown BIGINT NOT NULL,
    PRIMARY KEY (node, domain, method, minute)
);
CREATE INDEX sign_in_minute_at ON sign_in_minute (minute);

ALTER TABLE tenant_domain ADD COLUMN pin_until BIGINT;    -- when the pin is to be released by itself

CREATE TABLE node_pace (
    node TEXT PRIMARY KEY,
    checks_a_minute BIGINT NOT NULL, -- of stored hashes
    seen_at BIGINT NOT NULL
);
