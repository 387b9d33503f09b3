-- Keys of the ring on their way to all nodes, and which node has which.

CREATE TABLE ring_key (
    name TEXT PRIMARY KEY,
    sealed TEXT,                     -- its secret, under a key that every node had before; NULL once all have it
    state TEXT NOT NULL,             -- next, primary, older, retired
    since BIGINT NOT NULL
);

CREATE TABLE ring_node (
    node TEXT PRIMARY KEY,
    primary_key TEXT NOT NULL,       -- what it seals with
    primary_since BIGINT NOT NULL,
    opens TEXT NOT NULL,             -- names of all its keys, with blanks between them
    seen_at BIGINT NOT NULL
);
