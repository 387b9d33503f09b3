-- What is sent to people when an alert is raised or cleared.

CREATE TABLE alert_number (
    one BIGINT PRIMARY KEY,        -- 1
    last BIGINT NOT NULL           -- number of the newest notice
);

INSERT INTO alert_number (one, last) VALUES (1, 0);

CREATE TABLE alert_notice (
    number BIGINT PRIMARY KEY,
    name TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL,
    edge TEXT NOT NULL,            -- raised, cleared
    at BIGINT NOT NULL
);

CREATE TABLE alert_channel (
    name TEXT PRIMARY KEY,
    done BIGINT NOT NULL,          -- the newest notice that was taken, or given up
    tries BIGINT NOT NULL,         -- of the next one
    next_at BIGINT NOT NULL,       -- not before this time
    delivered_at BIGINT,
    last_error TEXT,
    given_up BIGINT NOT NULL
);
