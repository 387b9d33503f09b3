-- A link between two ends is found without its attribute: a group of half the directory is not gone through for each.

DROP INDEX mv_link_pair;
CREATE INDEX mv_link_pair ON mv_link (owner, target, attribute);
DROP INDEX space_link_target;
CREATE INDEX space_link_target ON space_link (target, owner);
