-- OpenID Connect: clients, codes, grants, signing keys.

CREATE TABLE client (
    client_id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    secret_hash TEXT,                -- SHA-256 of 256 random bits; NULL for public clients
    redirect_uris TEXT NOT NULL,     -- JSON array, matched exactly
    logout_uris TEXT NOT NULL,       -- JSON array, matched exactly
    subject_type TEXT NOT NULL,      -- public, pairwise; fixed when the client is added (design D22)
    algorithm TEXT NOT NULL,         -- RS256, ES256: what its tokens are signed with
    created_at BIGINT NOT NULL
);

CREATE TABLE authorization_code (
    code_hash TEXT PRIMARY KEY,
    sid TEXT NOT NULL,
    oid TEXT NOT NULL,
    client_id TEXT NOT NULL,
    request TEXT NOT NULL,           -- JSON: redirect URI, scope, nonce, challenge
    context TEXT NOT NULL,           -- JSON: how the user proved it (design D23)
    security_stamp TEXT NOT NULL,
    credential_version BIGINT,
    issued_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    redemptions BIGINT NOT NULL,     -- the second one revokes the grant
    grant_id TEXT
);
CREATE INDEX authorization_code_expiry ON authorization_code (expires_at);

CREATE TABLE refresh_grant (         -- what access tokens rest on, and the family of their refresh tokens (design D23)
    grant_id TEXT PRIMARY KEY,
    sid TEXT NOT NULL,
    oid TEXT NOT NULL,
    client_id TEXT NOT NULL,
    scope TEXT NOT NULL,
    context TEXT NOT NULL,           -- JSON, as in the code
    security_stamp TEXT NOT NULL,
    credential_version BIGINT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,      -- absolute
    uses BIGINT NOT NULL,            -- written first by every refresh: orders concurrent ones
    revoked_at BIGINT,
    revoke_reason TEXT
);
CREATE INDEX refresh_grant_session ON refresh_grant (sid);
CREATE INDEX refresh_grant_user ON refresh_grant (oid);
CREATE INDEX refresh_grant_expiry ON refresh_grant (expires_at);

CREATE TABLE refresh_token (
    token_hash TEXT PRIMARY KEY,
    grant_id TEXT NOT NULL,
    predecessor TEXT,                -- hash of the token that was traded for this one
    issued_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,      -- inactivity
    used_at BIGINT                   -- first use
);
CREATE INDEX refresh_token_grant ON refresh_token (grant_id);
CREATE INDEX refresh_token_predecessor ON refresh_token (predecessor);

CREATE TABLE signing_key (
    kid TEXT PRIMARY KEY,            -- thumbprint (RFC 7638)
    algorithm TEXT NOT NULL,
    public_jwk TEXT NOT NULL,
    sealed_key TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    active_from BIGINT NOT NULL,     -- published before it signs
    retired_at BIGINT                -- signs no more; still published until its last token has expired
);
