-- When somebody last looked at what a partner publishes, and how many looks in a row have failed since.

ALTER TABLE federation_partner ADD COLUMN looked_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE federation_partner ADD COLUMN failed_looks BIGINT NOT NULL DEFAULT 0;
