-- A full synchronisation asks of every link which objects stand for its ends: the index answers without the objects' rows.

DROP INDEX space_object_mv;
CREATE INDEX space_object_mv ON space_object (mv, connector, id) WHERE mv IS NOT NULL;
