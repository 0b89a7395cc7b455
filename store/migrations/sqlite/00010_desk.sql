-- +goose Up
-- What stands behind a lock of Proxmox that has lasted: when that was last looked at, since when no task does any more,
-- and which the last one was.
ALTER TABLE services ADD COLUMN lock_looked_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE services ADD COLUMN lock_stale_at INTEGER;
ALTER TABLE services ADD COLUMN lock_task TEXT NOT NULL DEFAULT ''; -- exact, for staff
