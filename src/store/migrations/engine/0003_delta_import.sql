-- Delta import: what must be read again, and when what was done last.

CREATE INDEX space_object_stale ON space_object (connector, id) WHERE digest = 'stale';
CREATE INDEX space_object_placeholder ON space_object (id) WHERE kind = 'placeholder';

CREATE TABLE engine_mark (           -- such as the last full import of a connector
    name TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);
