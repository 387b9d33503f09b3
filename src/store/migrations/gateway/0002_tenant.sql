-- The tenant directory: what the sign-in plane reads and the identity plane writes (design D22, D24).

CREATE TABLE tenant_domain (
    name TEXT PRIMARY KEY,
    is_initial BIGINT NOT NULL,
    verification TEXT NOT NULL,      -- pending, dns, operator, initial
    challenge TEXT NOT NULL,         -- value of the TXT record
    created_at BIGINT NOT NULL,
    verified_at BIGINT,
    method TEXT NOT NULL,            -- phs, pta, federated
    method_since BIGINT NOT NULL,
    backup TEXT NOT NULL,            -- none, phs
    failover TEXT NOT NULL,          -- manual, automatic
    max_hash_age_ms BIGINT NOT NULL,
    pin TEXT,                        -- primary, backup
    pin_by TEXT,
    pin_at BIGINT,
    partner TEXT,                    -- entity id, for federated
    version BIGINT NOT NULL,         -- optimistic lock of its settings
    recalculated_at BIGINT           -- NULL while effective UPNs of its users are still to be calculated anew
);

CREATE TABLE connector_domain (      -- the domains a connector may speak for (design D9)
    connector TEXT NOT NULL,
    domain TEXT NOT NULL,
    PRIMARY KEY (connector, domain)
);

CREATE TABLE tenant_user (
    oid TEXT PRIMARY KEY,
    source_anchor TEXT,              -- NULL for cloud-mastered users
    anchor_connector TEXT,
    upn TEXT NOT NULL,               -- effective, for display
    upn_folded TEXT NOT NULL,
    domain TEXT NOT NULL,            -- of the effective UPN
    on_premises_upn TEXT,            -- as exported, kept beside the effective one
    on_premises_suffix TEXT,         -- its domain, where it has one
    upn_connector TEXT,              -- connector that contributed it (design D9)
    display_name TEXT,
    given_name TEXT,
    surname TEXT,
    on_premises_mail TEXT,           -- as exported
    mail TEXT,                       -- NULL while the exported one is quarantined
    sam TEXT,                        -- netbios\name, as exported
    attributes TEXT NOT NULL,        -- JSON: what has no column
    account_enabled BIGINT NOT NULL, -- written by export alone; the other half is directory_state
    cloud_mastered BIGINT NOT NULL,
    security_stamp TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT                -- soft delete, 30 days
);
CREATE UNIQUE INDEX tenant_user_anchor ON tenant_user (source_anchor);
CREATE INDEX tenant_user_upn ON tenant_user (upn_folded);
CREATE INDEX tenant_user_domain ON tenant_user (domain);
CREATE INDEX tenant_user_suffix ON tenant_user (on_premises_suffix);

CREATE TABLE tenant_group (
    oid TEXT PRIMARY KEY,
    source_anchor TEXT,
    anchor_connector TEXT,
    display_name TEXT,
    on_premises_mail TEXT,
    mail TEXT,
    sid TEXT,
    attributes TEXT NOT NULL,
    cloud_mastered BIGINT NOT NULL,
    member_count BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT
);
CREATE UNIQUE INDEX tenant_group_anchor ON tenant_group (source_anchor);

CREATE TABLE membership (
    group_oid TEXT NOT NULL,
    member_kind TEXT NOT NULL,       -- user, group
    member_oid TEXT NOT NULL,
    PRIMARY KEY (group_oid, member_kind, member_oid)
);
CREATE INDEX membership_of ON membership (member_kind, member_oid);

CREATE TABLE membership_waiting (    -- links to members that are not here yet
    group_oid TEXT NOT NULL,
    member_anchor TEXT NOT NULL,
    PRIMARY KEY (group_oid, member_anchor)
);
CREATE INDEX membership_waiting_for ON membership_waiting (member_anchor);

CREATE TABLE unique_value (          -- one table of uniqueness over users, groups and contacts
    kind TEXT NOT NULL,              -- upn, mail, sam
    value TEXT NOT NULL,             -- folded
    owner_kind TEXT NOT NULL,
    owner TEXT NOT NULL,
    PRIMARY KEY (kind, value)
);
CREATE INDEX unique_value_owner ON unique_value (owner);

CREATE TABLE quarantined_value (     -- a duplicate that waits for its owner to let go
    oid TEXT NOT NULL,
    kind TEXT NOT NULL,
    value TEXT NOT NULL,
    held_by TEXT NOT NULL,
    since BIGINT NOT NULL,
    PRIMARY KEY (oid, kind, value)
);
CREATE INDEX quarantined_value_claim ON quarantined_value (kind, value);

CREATE TABLE sign_in_name (
    folded TEXT NOT NULL,
    kind TEXT NOT NULL,              -- upn, alternate, sam
    oid TEXT NOT NULL,
    PRIMARY KEY (folded, kind)
);
CREATE INDEX sign_in_name_of ON sign_in_name (oid);

CREATE TABLE upn_history (
    oid TEXT NOT NULL,
    folded TEXT NOT NULL,
    held_until BIGINT NOT NULL,
    PRIMARY KEY (oid, folded, held_until)
);

CREATE TABLE credential_source (     -- exactly one per user (design D9)
    oid TEXT PRIMARY KEY,
    connector TEXT NOT NULL,
    anchor TEXT NOT NULL,
    eligible BIGINT NOT NULL,        -- password sync enabled by the rules in scope
    updated_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX credential_source_key ON credential_source (connector, anchor);

CREATE TABLE change_feed (           -- numbers in commit order: the counter row is locked until the commit
    number BIGINT PRIMARY KEY,
    kind TEXT NOT NULL,              -- user, group, domain, member
    id TEXT NOT NULL,                -- of a membership: the group's
    member TEXT,                     -- of a membership: user:OID, group:OID or anchor:SOURCE_ANCHOR
    operation TEXT NOT NULL,         -- add, update, delete, restore
    at BIGINT NOT NULL
);
