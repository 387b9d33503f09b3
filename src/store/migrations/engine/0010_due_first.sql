-- Whoever walks over what is due is led by this index: with the columns of space_object_walk alone SQLite took that, and read all.

DROP INDEX space_object_due;
CREATE INDEX space_object_due ON space_object (due, connector, id) WHERE due = 1;
