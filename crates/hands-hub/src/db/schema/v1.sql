CREATE TABLE operations(
    id BLOB PRIMARY KEY,
    instance TEXT NOT NULL,
    function INTEGER NOT NULL,
    hash BLOB NOT NULL,
    size INTEGER NOT NULL,
    state INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    retained INTEGER NOT NULL DEFAULT 0,
    priority INTEGER NOT NULL,
    shape INTEGER NOT NULL,
    input_root TEXT NOT NULL,
    platform BLOB NOT NULL,
    metadata BLOB NOT NULL,
    invocation TEXT NOT NULL,
    options BLOB NOT NULL,
    title TEXT NOT NULL,
    created INTEGER NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0,
    worker BLOB,
    worker_name TEXT NOT NULL DEFAULT '',
    started INTEGER,
    finished INTEGER,
    response BLOB,
    bytes INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX operations_active ON operations(id) WHERE state < 2;
CREATE INDEX operations_retained ON operations(finished, hash) WHERE retained = 1;
CREATE TABLE durations(shape INTEGER PRIMARY KEY, micros INTEGER NOT NULL, seen INTEGER NOT NULL);
CREATE TABLE facts(name TEXT PRIMARY KEY, value TEXT NOT NULL);
