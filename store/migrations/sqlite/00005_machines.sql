-- +goose NO TRANSACTION
-- +goose Up
-- Operations learn to work on machines and snapshots. Their kinds stand in a CHECK, so the table is written anew; what
-- refers to it refers to it by name. All of it may be done twice: a process may die before it is noted as done.
PRAGMA foreign_keys = OFF;
BEGIN IMMEDIATE;

CREATE TABLE IF NOT EXISTS snapshots (
    id           INTEGER PRIMARY KEY,
    uid          TEXT    NOT NULL UNIQUE,
    service_id   INTEGER NOT NULL REFERENCES services (id),
    name         TEXT    NOT NULL, -- Proxmox's: "stw-" and our uid where it is ours
    description  TEXT    NOT NULL DEFAULT '',
    memory       INTEGER NOT NULL DEFAULT 0 CHECK (memory IN (0, 1)),
    external     INTEGER NOT NULL DEFAULT 0 CHECK (external IN (0, 1)), -- not taken by the portal: shown, never touched
    state        TEXT    NOT NULL CHECK (state IN ('taking', 'there', 'failed')),
    parent       TEXT    NOT NULL DEFAULT '', -- name of the one before it
    growth       INTEGER NOT NULL DEFAULT -1, -- bytes that only it needs, -1 = the storage doesn't tell
    hardware     TEXT    NOT NULL DEFAULT '{}', -- JSON of portal.Hardware: what the machine was made of
    taken_at     INTEGER NOT NULL,
    expires_at   INTEGER, -- null = never
    warned_at    INTEGER, -- when the mail about its end was queued
    seen_at      INTEGER NOT NULL DEFAULT 0,
    made_by      INTEGER REFERENCES operations (id),
    removed_at   INTEGER,
    removed_by   INTEGER REFERENCES operations (id),
    removed_how  TEXT    NOT NULL DEFAULT '',
    CHECK (external = 1 OR expires_at IS NOT NULL)
);

DROP TABLE IF EXISTS operations_wide;
CREATE TABLE operations_wide (
    id            INTEGER PRIMARY KEY,
    uid           TEXT    NOT NULL UNIQUE,
    reference     TEXT    NOT NULL UNIQUE, -- short, for people: K7Q-42M
    service_id    INTEGER NOT NULL REFERENCES services (id),
    server_id     INTEGER NOT NULL REFERENCES servers (id),
    kind          TEXT    NOT NULL CHECK (kind IN ('backup', 'backup_delete', 'backup_protect', 'snapshot', 'snapshot_delete', 'rollback',
                                                   'restore', 'reinstall', 'power', 'password', 'reapply')),
    exclusive     INTEGER NOT NULL CHECK (exclusive IN (0, 1)), -- locks the machine while running or held
    state         TEXT    NOT NULL CHECK (state IN ('queued', 'running', 'held', 'succeeded', 'failed', 'cancelled')),
    step          TEXT    NOT NULL,
    schedule_id   INTEGER REFERENCES schedules (id),
    slot_date     TEXT, -- with schedule_id: the slot
    backup_id     INTEGER REFERENCES backups (id), -- made, removed, protected or restored by it
    snapshot_id   INTEGER REFERENCES snapshots (id), -- taken, removed or rolled back to by it
    victim_id     INTEGER REFERENCES backups (id), -- removed to make room
    replace_id    INTEGER REFERENCES backups (id), -- chosen by a person to be removed after a good end
    after_id      INTEGER REFERENCES operations (id), -- has to end well before this one starts
    timing        TEXT    NOT NULL DEFAULT '' CHECK (timing IN ('', 'none', 'before', 'after')),
    evicted       INTEGER NOT NULL DEFAULT 0 CHECK (evicted IN (0, 1)),
    protect       INTEGER NOT NULL DEFAULT 0 CHECK (protect IN (0, 1)), -- wanted by backup_protect
    note          TEXT    NOT NULL DEFAULT '',
    mode          TEXT    NOT NULL DEFAULT '',
    work          TEXT    NOT NULL DEFAULT '{}', -- JSON of portal.Work: what only its kind needs
    secret        BLOB, -- sealed: a password until its step has ended
    -- the durable request
    node          TEXT    NOT NULL DEFAULT '',
    intent_at     INTEGER,
    intent_node   TEXT    NOT NULL DEFAULT '',
    known_upids   TEXT    NOT NULL DEFAULT '[]',
    no_task       INTEGER NOT NULL DEFAULT 0 CHECK (no_task IN (0, 1)), -- the answer was OK without a task
    clean_looks   INTEGER NOT NULL DEFAULT 0,
    upid          TEXT    NOT NULL DEFAULT '',
    -- places that are held: the schema is the lock
    dump_place    TEXT, -- node
    delete_place  TEXT, -- storage key
    -- progress
    percent       INTEGER NOT NULL DEFAULT 0 CHECK (percent BETWEEN 0 AND 100),
    done_bytes    INTEGER NOT NULL DEFAULT 0,
    total_bytes   INTEGER NOT NULL DEFAULT 0,
    rate          INTEGER NOT NULL DEFAULT 0, -- bytes a second
    log_lines     INTEGER NOT NULL DEFAULT 0,
    progress_at   INTEGER NOT NULL DEFAULT 0,
    waits_for     TEXT    NOT NULL DEFAULT '', -- why it still waits, for people
    -- limits
    manual        INTEGER NOT NULL CHECK (manual IN (0, 1)),
    attempt       INTEGER NOT NULL DEFAULT 0,
    failures      INTEGER NOT NULL DEFAULT 0, -- panics in a row
    run_after     INTEGER NOT NULL,
    start_by      INTEGER NOT NULL,
    give_up_at    INTEGER NOT NULL,
    watch_until   INTEGER, -- ended with an unknown outcome: still looked for
    -- who and what came of it
    actor         TEXT    NOT NULL,
    retry_of      INTEGER REFERENCES operations (id),
    cancel_at     INTEGER,
    cancel_by     TEXT    NOT NULL DEFAULT '',
    cancel_sent   INTEGER NOT NULL DEFAULT 0 CHECK (cancel_sent IN (0, 1)),
    reason        TEXT    NOT NULL DEFAULT '', -- a sentence for the client
    staff_reason  TEXT    NOT NULL DEFAULT '',
    warning       TEXT    NOT NULL DEFAULT '',
    created_at    INTEGER NOT NULL,
    started_at    INTEGER,
    ended_at      INTEGER,
    version       INTEGER NOT NULL DEFAULT 1,
    epoch         INTEGER NOT NULL DEFAULT 0,
    CHECK ((schedule_id IS NULL) = (slot_date IS NULL)),
    CHECK ((state IN ('succeeded', 'failed', 'cancelled')) = (ended_at IS NOT NULL)),
    CHECK (state IN ('running', 'held') OR (dump_place IS NULL AND delete_place IS NULL)),
    CHECK (state <> 'queued' OR (intent_at IS NULL AND upid = '')),
    CHECK (state NOT IN ('succeeded', 'failed', 'cancelled') OR secret IS NULL)
);

INSERT INTO operations_wide (id, uid, reference, service_id, server_id, kind, exclusive, state, step, schedule_id, slot_date, backup_id, victim_id,
        replace_id, timing, evicted, protect, note, mode, node, intent_at, intent_node, known_upids, no_task, clean_looks, upid, dump_place,
        delete_place, percent, done_bytes, total_bytes, rate, log_lines, progress_at, waits_for, manual, attempt, failures, run_after, start_by,
        give_up_at, watch_until, actor, retry_of, cancel_at, cancel_by, cancel_sent, reason, staff_reason, warning, created_at, started_at, ended_at,
        version, epoch)
    SELECT id, uid, reference, service_id, server_id, kind, exclusive, state, step, schedule_id, slot_date, backup_id, victim_id,
        replace_id, timing, evicted, protect, note, mode, node, intent_at, intent_node, known_upids, no_task, clean_looks, upid, dump_place,
        delete_place, percent, done_bytes, total_bytes, rate, log_lines, progress_at, waits_for, manual, attempt, failures, run_after, start_by,
        give_up_at, watch_until, actor, retry_of, cancel_at, cancel_by, cancel_sent, reason, staff_reason, warning, created_at, started_at, ended_at,
        version, epoch
    FROM operations ORDER BY id;
DROP TABLE operations;
ALTER TABLE operations_wide RENAME TO operations;

CREATE UNIQUE INDEX operations_machine ON operations (service_id) WHERE state IN ('running', 'held') AND exclusive = 1;
CREATE UNIQUE INDEX operations_queued ON operations (service_id, kind, COALESCE(backup_id, 0), COALESCE(snapshot_id, 0))
    WHERE state = 'queued' AND slot_date IS NULL;
CREATE UNIQUE INDEX operations_slot ON operations (service_id, kind, schedule_id, slot_date)
    WHERE slot_date IS NOT NULL AND retry_of IS NULL;
CREATE UNIQUE INDEX operations_dump_place ON operations (server_id, dump_place) WHERE dump_place IS NOT NULL;
CREATE UNIQUE INDEX operations_delete_place ON operations (server_id, delete_place) WHERE delete_place IS NOT NULL;
CREATE INDEX operations_active ON operations (state, run_after) WHERE state IN ('queued', 'running', 'held');
CREATE INDEX operations_open ON operations (service_id) WHERE state IN ('queued', 'running', 'held');
CREATE INDEX operations_waiting ON operations (server_id, node, run_after) WHERE state = 'queued' AND kind = 'backup';
CREATE INDEX operations_errands ON operations (run_after) WHERE state = 'queued' AND kind <> 'backup';
CREATE INDEX operations_expiring ON operations (start_by) WHERE state = 'queued';
CREATE INDEX operations_service ON operations (service_id, id);
CREATE INDEX operations_backup ON operations (backup_id) WHERE backup_id IS NOT NULL;
CREATE INDEX operations_snapshot ON operations (snapshot_id) WHERE snapshot_id IS NOT NULL;
CREATE INDEX operations_victim ON operations (victim_id) WHERE victim_id IS NOT NULL;
CREATE INDEX operations_replace ON operations (replace_id) WHERE replace_id IS NOT NULL;
CREATE INDEX operations_after ON operations (after_id) WHERE after_id IS NOT NULL;
CREATE INDEX operations_retry ON operations (retry_of) WHERE retry_of IS NOT NULL;
CREATE INDEX operations_ended ON operations (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX operations_watched ON operations (watch_until) WHERE watch_until IS NOT NULL;
-- +goose StatementBegin
CREATE TRIGGER operations_final BEFORE UPDATE OF state ON operations
WHEN old.state IN ('succeeded', 'failed', 'cancelled') AND new.state <> old.state
BEGIN SELECT RAISE(ABORT, 'a final state is final'); END;
-- +goose StatementEnd

CREATE UNIQUE INDEX IF NOT EXISTS snapshots_name ON snapshots (service_id, name) WHERE removed_at IS NULL;
CREATE INDEX IF NOT EXISTS snapshots_expiring ON snapshots (expires_at) WHERE removed_at IS NULL AND external = 0;
CREATE INDEX IF NOT EXISTS snapshots_made_by ON snapshots (made_by) WHERE made_by IS NOT NULL;
CREATE INDEX IF NOT EXISTS snapshots_removed_by ON snapshots (removed_by) WHERE removed_by IS NOT NULL;

COMMIT;
PRAGMA foreign_keys = ON;
