-- +goose Up
-- The hashes of the audit log were unique by an index of their own. No query reads it, the chain itself is what shows a
-- row that was copied, and every new row wrote a page of it at random: half of all that the planning of a night writes.
CREATE TABLE audit_slim (
    id         INTEGER PRIMARY KEY,
    at         INTEGER NOT NULL,
    actor      TEXT    NOT NULL, -- "client:<uid>", "staff:<uid>", "cron", "cli", "engine"
    address    TEXT    NOT NULL DEFAULT '',
    action     TEXT    NOT NULL, -- "backup.request"
    entity     TEXT    NOT NULL,
    entity_uid TEXT    NOT NULL,
    service_id INTEGER,
    before     TEXT    NOT NULL DEFAULT '',
    after      TEXT    NOT NULL DEFAULT '',
    hash       TEXT    NOT NULL -- SHA-256 over the hash before and this row
);

INSERT INTO audit_slim SELECT id, at, actor, address, action, entity, entity_uid, service_id, before, after, hash FROM audit ORDER BY id;
DROP TABLE audit;
ALTER TABLE audit_slim RENAME TO audit;
CREATE INDEX audit_service ON audit (service_id, id);
-- +goose StatementBegin
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END;
-- +goose StatementEnd

-- What waits, host by host: a host that is busy costs nothing to look past.
CREATE INDEX IF NOT EXISTS operations_waiting ON operations (server_id, node, run_after) WHERE state = 'queued' AND kind = 'backup';
-- What waits for no host.
CREATE INDEX IF NOT EXISTS operations_errands ON operations (run_after) WHERE state = 'queued' AND kind <> 'backup';
-- What may not start any more.
CREATE INDEX IF NOT EXISTS operations_expiring ON operations (start_by) WHERE state = 'queued';
-- A queued operation stands in the line of the host that its machine is on.
UPDATE operations SET node = (SELECT s.node FROM services s WHERE s.id = operations.service_id) WHERE state = 'queued';

-- Most operations name no copy while they wait.
DROP INDEX IF EXISTS operations_backup;
CREATE INDEX operations_backup ON operations (backup_id) WHERE backup_id IS NOT NULL;
-- No query asks for it.
DROP INDEX IF EXISTS slots_open;

-- Removing a row makes sure that nothing refers to it. Without these, each removal of an operation or a copy walked
-- through all slots, copies and operations.
CREATE INDEX IF NOT EXISTS operations_victim ON operations (victim_id) WHERE victim_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS operations_replace ON operations (replace_id) WHERE replace_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS operations_retry ON operations (retry_of) WHERE retry_of IS NOT NULL;
CREATE INDEX IF NOT EXISTS backups_made_by ON backups (operation_id) WHERE operation_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS backups_removed_by ON backups (removed_by) WHERE removed_by IS NOT NULL;
CREATE INDEX IF NOT EXISTS slots_operation ON slots (operation_id) WHERE operation_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS slots_backup ON slots (backup_id) WHERE backup_id IS NOT NULL;
