-- Sync servers enrol at the agents' door, for connectors of their own.

ALTER TABLE agent_token ADD COLUMN synchronised TEXT;   -- JSON array of connectors; NULL: the token is for an agent

ALTER TABLE agent ADD COLUMN synchronised TEXT;         -- JSON array of connectors; NULL: an agent
ALTER TABLE agent ADD COLUMN feed_read BIGINT;          -- the change up to which the sync server has read the change feed
