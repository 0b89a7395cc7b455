-- +goose Up
-- Where the audit log ends, sealed with a key that is not in the database. The chain alone doesn't show that its
-- last rows are gone, nor that somebody wrote it anew from a row on.
CREATE TABLE audit_head (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    row_id INTEGER NOT NULL, -- of the last row
    hash   TEXT    NOT NULL, -- of the last row; the next one is chained to it
    seal   TEXT    NOT NULL  -- HMAC over both with the installation's key, '' right after the upgrade
);

INSERT INTO audit_head (id, row_id, hash, seal) SELECT 1, id, hash, '' FROM audit ORDER BY id DESC LIMIT 1;
