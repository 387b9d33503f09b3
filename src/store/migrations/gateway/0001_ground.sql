-- What everything else stands on: single values, counters, the lease.

CREATE TABLE store_value (          -- tenant id, initial domain, canary of the key ring
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE counter (              -- 'settings' (change number of cached settings), 'change_feed'
    name TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO counter (name, value) VALUES ('settings', 1), ('change_feed', 0);

CREATE TABLE engine_lease (         -- one holder; its epoch is checked in every transaction of engine and password sync
    id BIGINT PRIMARY KEY,
    holder TEXT,
    epoch BIGINT NOT NULL,
    renewed_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
INSERT INTO engine_lease (id, holder, epoch, renewed_at, expires_at) VALUES (1, NULL, 0, 0, 0);

CREATE TABLE activation (           -- rules, connectors and scopes as activated; immutable (design D6)
    number BIGINT PRIMARY KEY,
    digest TEXT NOT NULL,
    content TEXT NOT NULL,
    activated_at BIGINT NOT NULL,
    activated_by TEXT NOT NULL
);

CREATE TABLE alert (                -- one row an alert, however many users it concerns
    name TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL,
    raised_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    occurrences BIGINT NOT NULL,
    cleared_at BIGINT,
    PRIMARY KEY (name, subject)
);
