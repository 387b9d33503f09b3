-- OpenID Connect: clients, codes, grants, signing keys.

CREATE TABLE client (
    client_id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    secret_hash TEXT,                -- NULL for public clients
    redirect_uris TEXT NOT NULL,     -- JSON array, matched exactly
    logout_uris TEXT NOT NULL,       -- JSON array, matched exactly
    subject_type TEXT NOT NULL,      -- public, pairwise; fixed when the client is added (design D22)
    created_at BIGINT NOT NULL
);

CREATE TABLE authorization_code (
    code_hash TEXT PRIMARY KEY,
    sid TEXT NOT NULL,
    client_id TEXT NOT NULL,
    request TEXT NOT NULL,           -- JSON: redirect URI, scope, nonce, challenge
    issued_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    redeemed_at BIGINT,
    grant_id TEXT
);
CREATE INDEX authorization_code_expiry ON authorization_code (expires_at);

CREATE TABLE refresh_grant (         -- a family of refresh tokens (design D23)
    grant_id TEXT PRIMARY KEY,
    sid TEXT NOT NULL,
    oid TEXT NOT NULL,
    client_id TEXT NOT NULL,
    scope TEXT NOT NULL,
    nonce TEXT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,      -- absolute
    revoked_at BIGINT,
    revoke_reason TEXT
);
CREATE INDEX refresh_grant_session ON refresh_grant (sid);
CREATE INDEX refresh_grant_user ON refresh_grant (oid);

CREATE TABLE refresh_token (
    token_hash TEXT PRIMARY KEY,
    grant_id TEXT NOT NULL,
    predecessor TEXT,
    issued_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT
);
CREATE INDEX refresh_token_grant ON refresh_token (grant_id);
CREATE INDEX refresh_token_predecessor ON refresh_token (predecessor);

CREATE TABLE signing_key (
    kid TEXT PRIMARY KEY,
    algorithm TEXT NOT NULL,
    public_jwk TEXT NOT NULL,
    sealed_key TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    active_from BIGINT NOT NULL,
    retired_at BIGINT                -- still published until its last token has expired
);
