-- Outages of federation partners, and what failover is for groups of a domain.

ALTER TABLE tenant_domain ADD COLUMN partner_outage_ms BIGINT NOT NULL DEFAULT 600000;

-- What each node has found out about a partner by synthetic sign-ins.
CREATE TABLE partner_view (
    partner TEXT NOT NULL,
    node TEXT NOT NULL,
    seen_at BIGINT NOT NULL,
    found TEXT NOT NULL,             -- signed-in, page-shown, otherwise, no-service
    detail TEXT,
    failing_since BIGINT,
    good BIGINT NOT NULL,            -- good ones in a row
    last_good BIGINT,
    PRIMARY KEY (partner, node)
);

-- Confirmed outages.
CREATE TABLE partner_outage (
    domain TEXT PRIMARY KEY,
    partner TEXT NOT NULL,
    since BIGINT NOT NULL
);

CREATE TABLE failover_group (
    domain TEXT NOT NULL,
    group_oid TEXT NOT NULL,
    failover TEXT NOT NULL,          -- automatic, manual, barred
    added_by TEXT NOT NULL,
    added_at BIGINT NOT NULL,
    PRIMARY KEY (domain, group_oid)
);
