-- +goose Up
-- What an archive holds, read from its own configuration once, so that no page waits for it.
ALTER TABLE backups ADD COLUMN contents TEXT NOT NULL DEFAULT '' /* JSON of portal.Contents; '' = not read yet */;
ALTER TABLE backups ADD COLUMN contents_due INTEGER NOT NULL DEFAULT 0 /* when it is to be read, where it wasn't */;
ALTER TABLE backups ADD COLUMN contents_tries INTEGER NOT NULL DEFAULT 0;
CREATE INDEX backups_unread ON backups (contents_due) WHERE contents = '' AND removed_at IS NULL AND class IN ('good', 'suspect');
CREATE INDEX backups_safety ON backups (keep_until) WHERE keep_until IS NOT NULL AND removed_at IS NULL;
