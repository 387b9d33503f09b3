-- Sign-in: transactions, sessions, lockout, federation.

CREATE TABLE signin_transaction (
    id TEXT PRIMARY KEY,
    cookie_hash TEXT NOT NULL,       -- SHA-256 of the browser's cookie
    state TEXT NOT NULL,
    detail TEXT NOT NULL,            -- JSON of the state
    protocol TEXT NOT NULL,          -- JSON of the protocol's request
    domain TEXT,                     -- what it rests on, once the name is known
    method TEXT,
    version BIGINT NOT NULL,         -- optimistic lock: a state is left once
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX signin_transaction_expiry ON signin_transaction (expires_at);
CREATE INDEX signin_transaction_domain ON signin_transaction (domain);

CREATE TABLE session (
    sid TEXT PRIMARY KEY,
    cookie_hash TEXT NOT NULL,
    oid TEXT NOT NULL,
    domain TEXT NOT NULL,
    security_stamp TEXT NOT NULL,    -- the user's at sign-in; a moved stamp ends the session (design D23)
    credential_version BIGINT,       -- of the stored password that proved it, where one did
    password_set BIGINT,             -- of the password that a directory verified, as read live
    method TEXT NOT NULL,
    authority TEXT NOT NULL,         -- server, agent or partner that decided
    failover BIGINT NOT NULL,
    attempt TEXT NOT NULL,           -- a late refusal of this attempt ends the session
    amr TEXT NOT NULL,               -- JSON array
    auth_time BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    ended_at BIGINT,
    end_reason TEXT
);
CREATE UNIQUE INDEX session_cookie ON session (cookie_hash);
CREATE INDEX session_of ON session (oid);
CREATE INDEX session_attempt ON session (attempt);
CREATE INDEX session_domain ON session (domain);

CREATE TABLE session_client (
    sid TEXT NOT NULL,
    client_id TEXT NOT NULL,
    first_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    PRIMARY KEY (sid, client_id)
);

CREATE TABLE lockout (
    subject TEXT NOT NULL,           -- user oid, or HMAC of an unknown name
    place TEXT NOT NULL,             -- familiar, unfamiliar; any: one counter for both
    failed BIGINT NOT NULL,
    in_flight BIGINT NOT NULL,
    window_from BIGINT NOT NULL,     -- the last failure
    locked_until BIGINT NOT NULL,
    times_locked BIGINT NOT NULL,
    PRIMARY KEY (subject, place)
);

CREATE TABLE lockout_reservation (   -- one try in flight; settled once
    attempt TEXT PRIMARY KEY,
    subject TEXT NOT NULL,
    place TEXT NOT NULL,
    at BIGINT NOT NULL,
    outcome TEXT                     -- returned, kept
);
CREATE INDEX lockout_reservation_at ON lockout_reservation (at);

CREATE TABLE wrong_password (        -- keyed fingerprints of the last wrong passwords
    subject TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (subject, fingerprint)
);

CREATE TABLE familiar_device (
    oid TEXT NOT NULL,
    device_hash TEXT NOT NULL,
    first_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    PRIMARY KEY (oid, device_hash)
);

CREATE TABLE federation_partner (
    entity_id TEXT PRIMARY KEY,
    settings TEXT NOT NULL,          -- JSON: endpoints, certificates, attribute names, MFA behaviour
    updated_at BIGINT NOT NULL
);

CREATE TABLE assertion_replay (
    assertion TEXT PRIMARY KEY,      -- hash of issuer and assertion id
    expires_at BIGINT NOT NULL
);
CREATE INDEX assertion_replay_expiry ON assertion_replay (expires_at);
