-- Connectors whose spaces there are, as they were when they last ran: one that is missing from the settings keeps what it
-- contributes until it is removed.

CREATE TABLE known_connector (
    connector TEXT PRIMARY KEY,
    place BIGINT NOT NULL,           -- in the order that breaks ties
    capabilities TEXT NOT NULL       -- JSON
);
