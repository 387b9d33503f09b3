-- Connector spaces, metaverse, staged exports. Rows are keyed by 64-bit ids (design D16).

CREATE TABLE space_object (
    id BIGINT PRIMARY KEY,
    connector TEXT NOT NULL,
    object_type TEXT NOT NULL,
    kind TEXT NOT NULL,              -- object, container, placeholder
    anchor TEXT,
    parent BIGINT,
    rdn TEXT NOT NULL,
    place TEXT,                      -- parent id and folded RDN: resolves a DN without storing it
    shown TEXT,                      -- JSON: what the system last showed
    digest TEXT NOT NULL,            -- over everything shown
    pending_import TEXT NOT NULL,    -- none, add, update, delete
    due BIGINT NOT NULL,
    unconfirmed TEXT,                -- JSON: exported, accepted, not yet shown by an import
    mv BIGINT,
    joined_by TEXT,
    applied TEXT NOT NULL,           -- JSON array of the rules in scope
    match_key TEXT                   -- in a target space: what a metaverse object adopts it by
);
CREATE UNIQUE INDEX space_object_anchor ON space_object (connector, anchor);
CREATE INDEX space_object_place ON space_object (connector, place);
CREATE INDEX space_object_mv ON space_object (mv);
CREATE INDEX space_object_match ON space_object (connector, match_key) WHERE match_key IS NOT NULL;
CREATE INDEX space_object_due ON space_object (connector, id) WHERE due = 1;
CREATE INDEX space_object_walk ON space_object (connector, id);
CREATE INDEX space_object_parent ON space_object (parent);

CREATE TABLE space_link (
    owner BIGINT NOT NULL,
    attribute TEXT NOT NULL,         -- folded
    target BIGINT NOT NULL,
    state TEXT NOT NULL,             -- confirmed, removed, staged-add, staged-delete, sent-add, sent-delete
    due BIGINT NOT NULL,
    PRIMARY KEY (owner, attribute, target)
);
CREATE INDEX space_link_target ON space_link (target);
CREATE INDEX space_link_due ON space_link (owner, attribute, target) WHERE due = 1;
CREATE INDEX space_link_staged ON space_link (owner, attribute, target) WHERE state IN ('staged-add', 'staged-delete');

CREATE TABLE mv_object (
    id BIGINT PRIMARY KEY,
    object_type TEXT NOT NULL,
    attributes TEXT NOT NULL,        -- JSON: per attribute the winning values, rule, connector and object
    due BIGINT NOT NULL
);
CREATE INDEX mv_object_due ON mv_object (id) WHERE due = 1;

CREATE TABLE mv_key (                -- join-key index
    key TEXT NOT NULL,
    mv BIGINT NOT NULL,
    PRIMARY KEY (key, mv)
);
CREATE INDEX mv_key_of ON mv_key (mv);

CREATE TABLE join_wait (             -- unjoined objects and the join values they wait for
    key TEXT NOT NULL,
    object BIGINT NOT NULL,
    PRIMARY KEY (key, object)
);
CREATE INDEX join_wait_of ON join_wait (object);

CREATE TABLE mv_link (               -- each made from one source link
    contributor BIGINT NOT NULL,
    source_attribute TEXT NOT NULL,
    source_target BIGINT NOT NULL,
    owner BIGINT NOT NULL,
    attribute TEXT NOT NULL,
    target BIGINT NOT NULL,
    due BIGINT NOT NULL,
    gone BIGINT NOT NULL,
    PRIMARY KEY (contributor, source_attribute, source_target, owner, target)
);
CREATE INDEX mv_link_pair ON mv_link (owner, attribute, target);
CREATE INDEX mv_link_target ON mv_link (target);
CREATE INDEX mv_link_due ON mv_link (owner, attribute, target) WHERE due = 1;

CREATE TABLE pending_export (
    object BIGINT PRIMARY KEY,
    connector TEXT NOT NULL,
    kind TEXT NOT NULL,              -- add, update, delete
    changes TEXT NOT NULL,           -- JSON; an empty list removes
    state TEXT NOT NULL,             -- pending, sent, in-doubt, failed
    error TEXT,
    attempts BIGINT NOT NULL
);
CREATE INDEX pending_export_of ON pending_export (connector, object);

CREATE TABLE watermark (
    connector TEXT PRIMARY KEY,
    server TEXT NOT NULL,
    incarnation TEXT NOT NULL,
    value TEXT NOT NULL
);

CREATE TABLE scope_base (            -- containers of the settings, kept by anchor
    connector TEXT NOT NULL,
    named TEXT NOT NULL,
    anchor TEXT NOT NULL,
    PRIMARY KEY (connector, named)
);

CREATE TABLE object_problem (
    object BIGINT NOT NULL,
    code TEXT NOT NULL,
    detail TEXT NOT NULL,
    PRIMARY KEY (object, code, detail)
);

CREATE TABLE sync_run (
    id BIGINT PRIMARY KEY,
    profile TEXT NOT NULL,
    rules BIGINT NOT NULL,           -- number of the activated version
    started_at BIGINT NOT NULL,
    ended_at BIGINT,
    outcome TEXT NOT NULL,           -- running, completed, completed-with-problems, held, failed
    detail TEXT
);

CREATE TABLE sync_step (
    run BIGINT NOT NULL,
    ordinal BIGINT NOT NULL,
    connector TEXT NOT NULL,
    kind TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    ended_at BIGINT NOT NULL,
    outcome TEXT NOT NULL,
    counters TEXT NOT NULL,          -- JSON
    detail TEXT,
    PRIMARY KEY (run, ordinal)
);

CREATE TABLE guard_hold (
    target TEXT NOT NULL,
    kind TEXT NOT NULL,
    hold TEXT NOT NULL,              -- JSON: counts, limit, digest, items
    since BIGINT NOT NULL,
    PRIMARY KEY (target, kind)
);

CREATE TABLE guard_release (
    target TEXT NOT NULL,
    kind TEXT NOT NULL,
    item TEXT NOT NULL,
    released_by TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (target, kind, item)
);

CREATE TABLE guard_ledger (          -- exported changes of the last 24 hours
    target TEXT NOT NULL,
    kind TEXT NOT NULL,
    at BIGINT NOT NULL,
    count BIGINT NOT NULL,
    released BIGINT NOT NULL
);
CREATE INDEX guard_ledger_at ON guard_ledger (target, at);
