-- The final schema, as the migrations make it. Written by: go test ./store -run TestSchemaGolden -update-schema

CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END;

CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END;

CREATE TABLE "audit" (
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

CREATE INDEX audit_service ON audit (service_id, id);

CREATE TABLE audit_head (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    row_id INTEGER NOT NULL, -- of the last row
    hash   TEXT    NOT NULL, -- of the last row; the next one is chained to it
    seal   TEXT    NOT NULL  -- HMAC over both with the installation's key, '' right after the upgrade
);

CREATE TABLE backups (
    id              INTEGER PRIMARY KEY,
    uid             TEXT    NOT NULL UNIQUE,
    service_id      INTEGER REFERENCES services (id), -- null: external, nobody's
    server_id       INTEGER NOT NULL REFERENCES servers (id),
    node            TEXT    NOT NULL, -- '' when the storage is shared
    storage         TEXT    NOT NULL,
    volid           TEXT, -- null until the task's log names it
    vmid            INTEGER NOT NULL,
    class           TEXT    NOT NULL CHECK (class IN ('running', 'good', 'suspect', 'partial', 'failed', 'missing', 'external')),
    class_before    TEXT    NOT NULL DEFAULT '', -- what a missing one was
    reason          TEXT    NOT NULL DEFAULT '',
    origin          TEXT    NOT NULL CHECK (origin IN ('scheduled', 'manual', 'before-restore', 'external')),
    mode            TEXT    NOT NULL DEFAULT '',
    started_at      INTEGER NOT NULL, -- our own start
    ctime           INTEGER NOT NULL DEFAULT 0,
    ended_at        INTEGER,
    size            INTEGER NOT NULL DEFAULT 0,
    upid            TEXT    NOT NULL DEFAULT '',
    operation_id    INTEGER REFERENCES operations (id),
    disks_in        TEXT    NOT NULL DEFAULT '[]', -- JSON array of portal.Disk
    disks_out       TEXT    NOT NULL DEFAULT '[]',
    consistent      INTEGER NOT NULL DEFAULT 0 CHECK (consistent IN (0, 1)),
    note            TEXT    NOT NULL DEFAULT '',
    note_due        INTEGER, -- when set: mark and note are still to be written to the archive
    note_tries      INTEGER NOT NULL DEFAULT 0,
    protected       INTEGER NOT NULL DEFAULT 0 CHECK (protected IN (0, 1)),
    verification    TEXT    NOT NULL DEFAULT '' CHECK (verification IN ('', 'ok', 'failed')),
    encrypted       TEXT    NOT NULL DEFAULT '',
    keep_until      INTEGER,
    seen_at         INTEGER NOT NULL DEFAULT 0, -- last listing that had it
    missing_since   INTEGER,
    missing_looks   INTEGER NOT NULL DEFAULT 0,
    removed_at      INTEGER,
    removed_how     TEXT    NOT NULL DEFAULT '' CHECK (removed_how IN ('', 'evicted', 'by client', 'by staff', 'outside', 'cleared', 'never made')),
    removed_by      INTEGER REFERENCES operations (id), contents TEXT NOT NULL DEFAULT '' /* JSON of portal.Contents; '' = not read yet */, contents_due INTEGER NOT NULL DEFAULT 0 /* when it is to be read, where it wasn't */, contents_tries INTEGER NOT NULL DEFAULT 0,
    CHECK (service_id IS NOT NULL OR class = 'external'),
    CHECK (class IN ('running', 'failed') OR volid IS NOT NULL),
    CHECK ((removed_at IS NULL) = (removed_how = ''))
);

CREATE INDEX backups_made_by ON backups (operation_id) WHERE operation_id IS NOT NULL;

CREATE INDEX backups_notes ON backups (note_due) WHERE note_due IS NOT NULL;

CREATE UNIQUE INDEX backups_operation ON backups (operation_id) WHERE class = 'running';

CREATE INDEX backups_removed ON backups (server_id, storage, removed_at) WHERE removed_at IS NOT NULL;

CREATE INDEX backups_removed_by ON backups (removed_by) WHERE removed_by IS NOT NULL;

CREATE INDEX backups_safety ON backups (keep_until) WHERE keep_until IS NOT NULL AND removed_at IS NULL;

CREATE INDEX backups_service ON backups (service_id, started_at) WHERE removed_at IS NULL;

CREATE INDEX backups_unread ON backups (contents_due) WHERE contents = '' AND removed_at IS NULL AND class IN ('good', 'suspect');

CREATE UNIQUE INDEX backups_volume ON backups (server_id, node, storage, volid) WHERE volid IS NOT NULL AND removed_at IS NULL;

CREATE TABLE clients (
    id         INTEGER PRIMARY KEY,
    uid        TEXT    NOT NULL UNIQUE,
    name       TEXT    NOT NULL,
    zone       TEXT    NOT NULL,
    language   TEXT    NOT NULL DEFAULT 'en',
    created_at INTEGER NOT NULL
);

CREATE TABLE devices (
    id         INTEGER PRIMARY KEY,
    login_id   INTEGER NOT NULL REFERENCES logins (id),
    token_hash TEXT    NOT NULL, -- SHA-256 of what the browser keeps
    first_at   INTEGER NOT NULL,
    seen_at    INTEGER NOT NULL,
    UNIQUE (login_id, token_hash)
);

CREATE TABLE disk_places (
    server_id INTEGER NOT NULL REFERENCES servers (id),
    node      TEXT    NOT NULL, -- '' = shared
    name      TEXT    NOT NULL,
    type      TEXT    NOT NULL, -- Proxmox's: dir, lvmthin, zfspool, …
    active    INTEGER NOT NULL CHECK (active IN (0, 1)),
    PRIMARY KEY (server_id, node, name)
) WITHOUT ROWID;

CREATE TABLE forgotten (
    id      INTEGER PRIMARY KEY,
    email   TEXT    NOT NULL,
    address TEXT    NOT NULL,
    at      INTEGER NOT NULL
);

CREATE TABLE installation (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    uid        TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    mark_key   BLOB    NOT NULL -- sealed; HMAC key of the marks in archive notes, and proof of the right key file
);

CREATE TABLE lease (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    epoch      INTEGER NOT NULL,
    holder     TEXT    NOT NULL,
    renewed_at INTEGER NOT NULL,
    tick_at    INTEGER NOT NULL DEFAULT 0,
    recovering INTEGER NOT NULL DEFAULT 0 CHECK (recovering IN (0, 1)),
    zones      TEXT    NOT NULL DEFAULT '' -- version of the zone data that due instants were computed with
);

CREATE TABLE login_failures (
    key         TEXT PRIMARY KEY, -- "account:<hash of e-mail>" or "address:<ip or /64>"
    failures    INTEGER NOT NULL,
    first_at    INTEGER NOT NULL,
    blocked_until INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE logins (
    id            INTEGER PRIMARY KEY,
    uid           TEXT    NOT NULL UNIQUE,
    client_id     INTEGER REFERENCES clients (id),
    email         TEXT    NOT NULL UNIQUE CHECK (email = lower(email)),
    name          TEXT    NOT NULL DEFAULT '',
    role          TEXT    NOT NULL,
    password_hash TEXT    NOT NULL,
    zone          TEXT    NOT NULL DEFAULT '',
    language      TEXT    NOT NULL DEFAULT 'en',
    generation    INTEGER NOT NULL DEFAULT 1, -- raised to end every session of this login
    disabled      INTEGER NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1)),
    created_at    INTEGER NOT NULL,
    signed_in_at  INTEGER, mail_switches TEXT NOT NULL DEFAULT '',
    CHECK ((client_id IS NOT NULL AND role IN ('owner', 'operator', 'reader'))
        OR (client_id IS NULL AND role IN ('admin', 'operator', 'auditor')))
);

CREATE INDEX logins_client ON logins (client_id);

CREATE TABLE machine_configs (
    service_id INTEGER PRIMARY KEY REFERENCES services (id),
    machine    TEXT    NOT NULL -- JSON of portal.Machine, when its snapshots were last read
);

CREATE TABLE mail_reports (
    id   INTEGER PRIMARY KEY CHECK (id = 1),
    date TEXT    NOT NULL -- of the last morning report
);

CREATE TABLE mails (
    id            INTEGER PRIMARY KEY,
    uid           TEXT    NOT NULL UNIQUE, -- of the Message-ID: the same however often it is sent
    message_uid   TEXT    NOT NULL, -- of the outbox
    login_id      INTEGER NOT NULL REFERENCES logins (id),
    service_id    INTEGER REFERENCES services (id),
    topic         TEXT    NOT NULL,
    staff         INTEGER NOT NULL CHECK (staff IN (0, 1)),
    bundle        TEXT    NOT NULL DEFAULT '',
    address       TEXT    NOT NULL, -- e-mail address
    language      TEXT    NOT NULL,
    zone          TEXT    NOT NULL,
    subject       TEXT    NOT NULL,
    notice        TEXT    NOT NULL, -- JSON of portal.Notice
    created_at    INTEGER NOT NULL,
    state         TEXT    NOT NULL CHECK (state IN ('waiting', 'sent', 'failed')),
    attempts      INTEGER NOT NULL DEFAULT 0,
    run_after     INTEGER NOT NULL,
    give_up_at    INTEGER NOT NULL,
    claimed_until INTEGER NOT NULL DEFAULT 0, -- whoever sends it has it until then
    ended_at      INTEGER,
    trouble       TEXT    NOT NULL DEFAULT '', -- of the last attempt
    CHECK ((state = 'waiting') = (ended_at IS NULL)),
    UNIQUE (message_uid, login_id)
);

CREATE INDEX mails_bundle ON mails (bundle, created_at) WHERE bundle <> '';

CREATE INDEX mails_due ON mails (run_after) WHERE state = 'waiting';

CREATE INDEX mails_failed ON mails (ended_at) WHERE state = 'failed';

CREATE INDEX mails_lane ON mails (login_id, service_id, id) WHERE state = 'waiting';

CREATE TABLE nodes (
    id            INTEGER PRIMARY KEY,
    server_id     INTEGER NOT NULL REFERENCES servers (id),
    name          TEXT    NOT NULL,
    online        INTEGER NOT NULL CHECK (online IN (0, 1)),
    down_since    INTEGER,
    seen_at       INTEGER NOT NULL,
    foreign_dump  TEXT    NOT NULL DEFAULT '', -- UPID of a vzdump that is not ours
    UNIQUE (server_id, name)
);

CREATE TABLE operation_steps (
    id           INTEGER PRIMARY KEY,
    operation_id INTEGER NOT NULL REFERENCES operations (id),
    at           INTEGER NOT NULL,
    step         TEXT    NOT NULL,
    what         TEXT    NOT NULL CHECK (what IN ('begun', 'done', 'waits', 'retry', 'failed', 'note')),
    text         TEXT    NOT NULL, -- for the client
    staff        TEXT    NOT NULL DEFAULT ''
);

CREATE INDEX operation_steps_operation ON operation_steps (operation_id, id);

CREATE TRIGGER operations_final BEFORE UPDATE OF state ON operations
WHEN old.state IN ('succeeded', 'failed', 'cancelled') AND new.state <> old.state
BEGIN SELECT RAISE(ABORT, 'a final state is final'); END;

CREATE TABLE "operations" (
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

CREATE INDEX operations_active ON operations (state, run_after) WHERE state IN ('queued', 'running', 'held');

CREATE INDEX operations_after ON operations (after_id) WHERE after_id IS NOT NULL;

CREATE INDEX operations_backup ON operations (backup_id) WHERE backup_id IS NOT NULL;

CREATE UNIQUE INDEX operations_delete_place ON operations (server_id, delete_place) WHERE delete_place IS NOT NULL;

CREATE UNIQUE INDEX operations_dump_place ON operations (server_id, dump_place) WHERE dump_place IS NOT NULL;

CREATE INDEX operations_ended ON operations (ended_at) WHERE ended_at IS NOT NULL;

CREATE INDEX operations_errands ON operations (run_after) WHERE state = 'queued' AND kind <> 'backup';

CREATE INDEX operations_expiring ON operations (start_by) WHERE state = 'queued';

CREATE UNIQUE INDEX operations_machine ON operations (service_id) WHERE state IN ('running', 'held') AND exclusive = 1;

CREATE INDEX operations_open ON operations (service_id) WHERE state IN ('queued', 'running', 'held');

CREATE UNIQUE INDEX operations_queued ON operations (service_id, kind, COALESCE(backup_id, 0), COALESCE(snapshot_id, 0))
    WHERE state = 'queued' AND slot_date IS NULL;

CREATE INDEX operations_replace ON operations (replace_id) WHERE replace_id IS NOT NULL;

CREATE INDEX operations_retry ON operations (retry_of) WHERE retry_of IS NOT NULL;

CREATE INDEX operations_service ON operations (service_id, id);

CREATE UNIQUE INDEX operations_slot ON operations (service_id, kind, schedule_id, slot_date)
    WHERE slot_date IS NOT NULL AND retry_of IS NULL;

CREATE INDEX operations_snapshot ON operations (snapshot_id) WHERE snapshot_id IS NOT NULL;

CREATE INDEX operations_victim ON operations (victim_id) WHERE victim_id IS NOT NULL;

CREATE INDEX operations_waiting ON operations (server_id, node, run_after) WHERE state = 'queued' AND kind = 'backup';

CREATE INDEX operations_watched ON operations (watch_until) WHERE watch_until IS NOT NULL;

CREATE TABLE outbox (
    id         INTEGER PRIMARY KEY,
    uid        TEXT    NOT NULL UNIQUE,
    channel    TEXT    NOT NULL CHECK (channel IN ('mail', 'staff', 'webhook')),
    service_id INTEGER REFERENCES services (id),
    topic      TEXT    NOT NULL, -- "backup.failed"
    payload    TEXT    NOT NULL, -- JSON
    created_at INTEGER NOT NULL,
    sent_at    INTEGER,
    attempts   INTEGER NOT NULL DEFAULT 0,
    run_after  INTEGER NOT NULL
, bundle TEXT NOT NULL DEFAULT '');

CREATE INDEX outbox_bundle ON outbox (bundle) WHERE sent_at IS NULL AND bundle <> '';

CREATE INDEX outbox_due ON outbox (channel, run_after) WHERE sent_at IS NULL;

CREATE TABLE password_resets (
    id         INTEGER PRIMARY KEY,
    uid        TEXT    NOT NULL UNIQUE,
    login_id   INTEGER NOT NULL REFERENCES logins (id),
    token_hash TEXT    NOT NULL UNIQUE, -- SHA-256
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at    INTEGER
);

CREATE TABLE pauses (
    id         INTEGER PRIMARY KEY,
    uid        TEXT    NOT NULL UNIQUE,
    scope      TEXT    NOT NULL CHECK (scope IN ('server', 'node', 'storage', 'product', 'service')),
    server_id  INTEGER REFERENCES servers (id),
    target     TEXT    NOT NULL, -- node or storage name, product or service uid; '' for a server
    reason     TEXT    NOT NULL,
    starts_at  INTEGER NOT NULL,
    ends_at    INTEGER NOT NULL,
    created_by TEXT    NOT NULL,
    CHECK (ends_at > starts_at)
);

CREATE TABLE products (
    id             INTEGER PRIMARY KEY,
    uid            TEXT    NOT NULL UNIQUE,
    name           TEXT    NOT NULL UNIQUE,
    quota          INTEGER NOT NULL CHECK (quota >= 0),
    storage        TEXT    NOT NULL,
    mode           TEXT    NOT NULL CHECK (mode IN ('snapshot', 'suspend', 'stop')),
    mode_choice    INTEGER NOT NULL DEFAULT 0 CHECK (mode_choice IN (0, 1)),
    compress       TEXT    NOT NULL DEFAULT 'zstd' CHECK (compress IN ('0', 'gzip', 'lzo', 'zstd')),
    bwlimit        INTEGER NOT NULL DEFAULT 0 CHECK (bwlimit >= 0), -- KiB/s, 0 = the host's own
    fleecing       TEXT    NOT NULL DEFAULT '', -- storage of the fleecing image, '' = none
    eviction       TEXT    NOT NULL DEFAULT 'before' CHECK (eviction IN ('before', 'after')),
    last_copy      TEXT    NOT NULL DEFAULT 'overlap' CHECK (last_copy IN ('overlap', 'hold')),
    spread         INTEGER NOT NULL DEFAULT 0 CHECK (spread BETWEEN 0 AND 720), -- minutes
    start_hours       INTEGER NOT NULL DEFAULT 6 CHECK (start_hours BETWEEN 1 AND 24), -- hours a due backup may still start
    protect        INTEGER NOT NULL DEFAULT 0 CHECK (protect BETWEEN 0 AND 5), -- copies that a client may protect
    hardware       TEXT    NOT NULL DEFAULT '{}', -- JSON of portal.Hardware: what is sold
    snapshots      INTEGER NOT NULL DEFAULT 0 CHECK (snapshots >= 0),
    snapshot_days  INTEGER NOT NULL DEFAULT 1 CHECK (snapshot_days BETWEEN 1 AND 10),
    created_at     INTEGER NOT NULL
, safety_copy INTEGER NOT NULL DEFAULT 1 CHECK (safety_copy IN (0, 1)) /* the present state is saved before a restore */, snapshot_memory INTEGER NOT NULL DEFAULT 1 CHECK (snapshot_memory IN (0, 1)) /* snapshots may hold a running machine's memory */);

CREATE TABLE schedules (
    id           INTEGER PRIMARY KEY,
    uid          TEXT    NOT NULL UNIQUE,
    service_id   INTEGER NOT NULL REFERENCES services (id),
    zone         TEXT    NOT NULL CHECK (zone NOT IN ('', 'Local')),
    days         TEXT    NOT NULL, -- JSON of the seven days, Sunday first
    planned      INTEGER NOT NULL, -- slots are written for every due instant up to here
    next_due_at  INTEGER,          -- null = no day enabled
    saved_at     INTEGER NOT NULL,
    UNIQUE (service_id)
);

CREATE INDEX schedules_due ON schedules (next_due_at) WHERE next_due_at IS NOT NULL;

CREATE TABLE servers (
    id                INTEGER PRIMARY KEY,
    uid               TEXT    NOT NULL UNIQUE,
    name              TEXT    NOT NULL UNIQUE,
    endpoints         TEXT    NOT NULL, -- JSON array of https URLs
    fingerprints      TEXT    NOT NULL DEFAULT '[]', -- JSON array, SHA-256 of the leaf certificate
    ca                TEXT    NOT NULL DEFAULT '', -- PEM
    token_id          TEXT    NOT NULL,
    secret            BLOB    NOT NULL, -- sealed
    release           TEXT    NOT NULL DEFAULT '',
    seen_at           INTEGER NOT NULL DEFAULT 0,
    unreachable_since INTEGER,
    trouble           TEXT    NOT NULL DEFAULT '', -- exact, for staff
    skew              INTEGER NOT NULL DEFAULT 0, -- seconds, the server's clock minus ours
    rights_at         INTEGER NOT NULL DEFAULT 0,
    rights_missing    TEXT    NOT NULL DEFAULT '[]', -- JSON array of "privilege on path"
    checked_at        INTEGER NOT NULL DEFAULT 0,
    findings          TEXT    NOT NULL DEFAULT '[]', -- JSON, the last check
    created_at        INTEGER NOT NULL
);

CREATE TABLE services (
    id           INTEGER PRIMARY KEY,
    uid          TEXT    NOT NULL UNIQUE,
    client_id    INTEGER NOT NULL REFERENCES clients (id),
    product_id   INTEGER NOT NULL REFERENCES products (id),
    server_id    INTEGER NOT NULL REFERENCES servers (id),
    vmid         INTEGER NOT NULL CHECK (vmid >= 100),
    name         TEXT    NOT NULL,
    brand        TEXT    NOT NULL DEFAULT '',
    state        TEXT    NOT NULL CHECK (state IN ('active', 'suspended', 'terminating', 'terminated', 'machine_gone', 'machine_replaced')),
    quota        INTEGER CHECK (quota >= 0), -- null = the product's
    mode         TEXT    NOT NULL DEFAULT '' CHECK (mode IN ('', 'snapshot', 'suspend', 'stop')),
    -- identity of the machine
    machine_uuid TEXT    NOT NULL,
    machine_made INTEGER NOT NULL DEFAULT 0, -- ctime of the config's meta line
    machine_macs TEXT    NOT NULL DEFAULT '',
    -- as last seen
    node         TEXT    NOT NULL DEFAULT '',
    status       TEXT    NOT NULL DEFAULT '',
    lock         TEXT    NOT NULL DEFAULT '',
    lock_since   INTEGER,
    uptime       INTEGER NOT NULL DEFAULT 0,
    hardware     TEXT    NOT NULL DEFAULT '{}', -- JSON of portal.Hardware, from the config
    seen_at      INTEGER NOT NULL DEFAULT 0,
    config_at    INTEGER NOT NULL DEFAULT 0,
    unseen       INTEGER NOT NULL DEFAULT 0, -- consecutive complete inventories without it
    unseen_since INTEGER,
    created_at   INTEGER NOT NULL
, own TEXT NOT NULL DEFAULT '{}' /* JSON of portal.Spec: what is this machine's alone, and what it has in place of the product's */, addresses TEXT NOT NULL DEFAULT '[]', snapshots_at INTEGER NOT NULL DEFAULT 0, snapshots_why TEXT NOT NULL DEFAULT '', lock_looked_at INTEGER NOT NULL DEFAULT 0, lock_stale_at INTEGER, lock_task TEXT NOT NULL DEFAULT '');

CREATE INDEX services_client ON services (client_id, name);

CREATE UNIQUE INDEX services_machine ON services (server_id, vmid) WHERE state <> 'terminated';

CREATE TABLE sessions (
    token      TEXT PRIMARY KEY, -- SHA-256 of the cookie's value
    data       BLOB    NOT NULL,
    expires_at INTEGER NOT NULL
);

CREATE INDEX sessions_expiry ON sessions (expires_at);

CREATE TABLE settings (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE slots (
    service_id   INTEGER NOT NULL REFERENCES services (id),
    schedule_id  INTEGER NOT NULL REFERENCES schedules (id),
    local_date   TEXT    NOT NULL,
    due_at       INTEGER NOT NULL,
    start_by     INTEGER NOT NULL,
    state        TEXT    NOT NULL CHECK (state IN ('due', 'running', 'done', 'late', 'skipped', 'failed', 'missed')),
    reason       TEXT    NOT NULL DEFAULT '',
    operation_id INTEGER REFERENCES operations (id),
    backup_id    INTEGER REFERENCES backups (id),
    ended_at     INTEGER,
    PRIMARY KEY (service_id, schedule_id, local_date),
    CHECK ((state IN ('due', 'running')) = (ended_at IS NULL))
) WITHOUT ROWID;

CREATE INDEX slots_backup ON slots (backup_id) WHERE backup_id IS NOT NULL;

CREATE INDEX slots_operation ON slots (operation_id) WHERE operation_id IS NOT NULL;

CREATE INDEX slots_recent ON slots (due_at, state);

CREATE TABLE snapshot_configs (
    snapshot_id INTEGER PRIMARY KEY REFERENCES snapshots (id),
    machine     TEXT    NOT NULL, -- JSON of portal.Machine: what the machine was
    used        INTEGER NOT NULL DEFAULT -1 -- bytes that the machine's disks took right after, -1 = the storage doesn't tell
);

CREATE TABLE snapshots (
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

CREATE INDEX snapshots_expiring ON snapshots (expires_at) WHERE removed_at IS NULL AND external = 0;

CREATE INDEX snapshots_made_by ON snapshots (made_by) WHERE made_by IS NOT NULL;

CREATE UNIQUE INDEX snapshots_name ON snapshots (service_id, name) WHERE removed_at IS NULL;

CREATE INDEX snapshots_removed_by ON snapshots (removed_by) WHERE removed_by IS NOT NULL;

CREATE TABLE storages (
    id               INTEGER PRIMARY KEY,
    server_id        INTEGER NOT NULL REFERENCES servers (id),
    node             TEXT    NOT NULL,
    name             TEXT    NOT NULL,
    type             TEXT    NOT NULL,
    content          TEXT    NOT NULL,
    shared           INTEGER NOT NULL CHECK (shared IN (0, 1)),
    active           INTEGER NOT NULL CHECK (active IN (0, 1)),
    total            INTEGER NOT NULL,
    used             INTEGER NOT NULL,
    seen_at          INTEGER NOT NULL,
    listed_at        INTEGER NOT NULL DEFAULT 0, -- last clean full listing
    listings         INTEGER NOT NULL DEFAULT 0, -- clean full listings since recovery began
    known_total      INTEGER NOT NULL DEFAULT 0, -- its size when a listing was last trusted
    confirmed        INTEGER NOT NULL DEFAULT 0 CHECK (confirmed IN (0, 1)), -- staff: what is absent is really gone
    doubt            TEXT    NOT NULL DEFAULT '', -- why no verdict until staff confirm
    doubt_since      INTEGER,
    brake_since      INTEGER,
    brake_free       INTEGER NOT NULL DEFAULT 0, -- until then the brake stays off: staff have looked
    external         INTEGER NOT NULL DEFAULT 0, -- archives there that aren't ours
    UNIQUE (server_id, node, name)
);

CREATE TABLE task_logs (
    operation_id INTEGER NOT NULL REFERENCES operations (id),
    upid         TEXT    NOT NULL,
    at           INTEGER NOT NULL,
    exit         TEXT    NOT NULL,
    log          TEXT    NOT NULL,
    PRIMARY KEY (operation_id, upid)
);

CREATE INDEX task_logs_age ON task_logs (at);

CREATE TABLE tombstones (
    id         INTEGER PRIMARY KEY,
    uid        TEXT    NOT NULL UNIQUE,
    entity     TEXT    NOT NULL,
    entity_uid TEXT    NOT NULL,
    at         INTEGER NOT NULL,
    why        TEXT    NOT NULL
);
