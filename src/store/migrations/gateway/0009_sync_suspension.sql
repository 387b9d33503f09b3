-- Whether the engine may run by itself: here and not with the engine, because every node may say so.

CREATE TABLE sync_suspension (
    id BIGINT PRIMARY KEY,           -- 1
    since BIGINT NOT NULL,
    until BIGINT,
    reason TEXT,
    suspended_by TEXT NOT NULL
);
