-- Where wrong passwords come from: what reports on lockouts are made of, and what slows a network that tries many names.

CREATE TABLE wrong_try (
    subject TEXT NOT NULL,           -- user oid, or HMAC of an unknown name
    network TEXT NOT NULL,           -- empty when a balancer hides it
    familiar BIGINT NOT NULL,        -- from a device on which the user had signed in
    tries BIGINT NOT NULL,           -- wrong passwords that were checked
    repeated BIGINT NOT NULL,        -- of these, the same as one shortly before
    turned_away BIGINT NOT NULL,     -- while locked
    first_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    succeeded_at BIGINT,             -- the last success from there after such tries
    PRIMARY KEY (subject, network, familiar)
);
CREATE INDEX wrong_try_of_network ON wrong_try (network, last_at);
CREATE INDEX wrong_try_last ON wrong_try (last_at);

CREATE TABLE slowed_network (
    network TEXT PRIMARY KEY,
    since BIGINT NOT NULL,
    next_at BIGINT NOT NULL          -- when the next try of an unknown device is let through
);

ALTER TABLE lockout_reservation ADD COLUMN network TEXT;
ALTER TABLE lockout_reservation ADD COLUMN familiar BIGINT;
