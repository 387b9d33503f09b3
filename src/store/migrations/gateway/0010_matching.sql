-- Objects of the cloud that directories may take over, and how many objects there are.

ALTER TABLE tenant_user ADD COLUMN privileged BIGINT NOT NULL DEFAULT 0;
-- Undeleted users and groups; kept by whoever writes them, under the lock of the change feed.
INSERT INTO counter (name, value) SELECT 'objects', CAST((SELECT COUNT(*) FROM tenant_user WHERE deleted_at IS NULL)
    + (SELECT COUNT(*) FROM tenant_group WHERE deleted_at IS NULL) AS BIGINT);
