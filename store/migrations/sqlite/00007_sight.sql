-- +goose Up
-- Where a machine can be reached, and since when its snapshots were last read.
ALTER TABLE services ADD COLUMN addresses TEXT NOT NULL DEFAULT '[]';
ALTER TABLE services ADD COLUMN snapshots_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE services ADD COLUMN snapshots_why TEXT NOT NULL DEFAULT ''; -- why its storage can't take any, for people
