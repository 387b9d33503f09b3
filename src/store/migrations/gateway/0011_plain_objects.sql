-- Contacts and devices: nobody signs in as one, and they have no members.

CREATE TABLE tenant_plain (
    oid TEXT PRIMARY KEY,
    kind TEXT NOT NULL,              -- contact, device
    source_anchor TEXT NOT NULL,
    anchor_connector TEXT NOT NULL,
    display_name TEXT,
    on_premises_mail TEXT,           -- as exported
    mail TEXT,                       -- NULL while the exported one is quarantined
    attributes TEXT NOT NULL,        -- JSON: what has no column
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT
);
CREATE UNIQUE INDEX tenant_plain_anchor ON tenant_plain (source_anchor);
CREATE INDEX tenant_plain_deleted ON tenant_plain (deleted_at) WHERE deleted_at IS NOT NULL;
