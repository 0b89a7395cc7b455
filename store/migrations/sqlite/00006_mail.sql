-- +goose Up
-- Messages of one kind about one thing are told to staff together; '' for those that stand alone. sent_at is when a
-- message was addressed: from then on each of its mails has a row of its own.
ALTER TABLE outbox ADD COLUMN bundle TEXT NOT NULL DEFAULT '';
UPDATE outbox SET bundle = topic || '/' || COALESCE(service_id, 0) WHERE channel = 'staff' AND sent_at IS NULL;
CREATE INDEX outbox_bundle ON outbox (bundle) WHERE sent_at IS NULL AND bundle <> '';

-- JSON: the kinds of mail that the login has switched on or off
ALTER TABLE logins ADD COLUMN mail_switches TEXT NOT NULL DEFAULT '';

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
CREATE INDEX mails_due ON mails (run_after) WHERE state = 'waiting';
CREATE INDEX mails_lane ON mails (login_id, service_id, id) WHERE state = 'waiting';
CREATE INDEX mails_bundle ON mails (bundle, created_at) WHERE bundle <> '';
CREATE INDEX mails_failed ON mails (ended_at) WHERE state = 'failed';

CREATE TABLE mail_reports (
    id   INTEGER PRIMARY KEY CHECK (id = 1),
    date TEXT    NOT NULL -- of the last morning report
);

-- Who says that they forgot a password is written down alike whether there is such a login or not; soon after, and
-- apart from the answer, it is looked up.
CREATE TABLE forgotten (
    id      INTEGER PRIMARY KEY,
    email   TEXT    NOT NULL,
    address TEXT    NOT NULL,
    at      INTEGER NOT NULL
);

CREATE TABLE password_resets (
    id         INTEGER PRIMARY KEY,
    uid        TEXT    NOT NULL UNIQUE,
    login_id   INTEGER NOT NULL REFERENCES logins (id),
    token_hash TEXT    NOT NULL UNIQUE, -- SHA-256
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at    INTEGER
);

CREATE TABLE devices (
    id         INTEGER PRIMARY KEY,
    login_id   INTEGER NOT NULL REFERENCES logins (id),
    token_hash TEXT    NOT NULL, -- SHA-256 of what the browser keeps
    first_at   INTEGER NOT NULL,
    seen_at    INTEGER NOT NULL,
    UNIQUE (login_id, token_hash)
);
