-- Edges of delta synchronisation that lead by groups and by time.

CREATE TABLE scope_group (           -- groups that scopes name, kept by anchor once they were found
    connector TEXT NOT NULL,
    named TEXT NOT NULL,             -- folded
    anchor TEXT NOT NULL,
    PRIMARY KEY (connector, named)
);

ALTER TABLE mv_object ADD COLUMN review_at BIGINT;  -- when its rules may say something else though nothing changes
CREATE INDEX mv_object_review ON mv_object (review_at) WHERE review_at IS NOT NULL;
