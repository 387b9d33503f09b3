-- What is looked for by its age.

CREATE INDEX session_expiry ON session (expires_at);
CREATE INDEX tenant_user_deleted ON tenant_user (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX tenant_group_deleted ON tenant_group (deleted_at) WHERE deleted_at IS NOT NULL;
