-- What the engine's own tables stand on.

CREATE TABLE engine_counter (        -- next object ids, run numbers
    name TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);

CREATE TABLE engine_epoch (          -- the newest lease epoch that wrote here; an older holder's transaction is refused
    id BIGINT PRIMARY KEY,
    epoch BIGINT NOT NULL
);
INSERT INTO engine_epoch (id, epoch) VALUES (1, 0);
