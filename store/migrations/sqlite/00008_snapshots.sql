-- +goose Up
-- What a rollback is planned from before anybody is asked: the storages of disks, and machines as they are and were.
CREATE TABLE IF NOT EXISTS disk_places (
    server_id INTEGER NOT NULL REFERENCES servers (id),
    node      TEXT    NOT NULL, -- '' = shared
    name      TEXT    NOT NULL,
    type      TEXT    NOT NULL, -- Proxmox's: dir, lvmthin, zfspool, …
    active    INTEGER NOT NULL CHECK (active IN (0, 1)),
    PRIMARY KEY (server_id, node, name)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS machine_configs (
    service_id INTEGER PRIMARY KEY REFERENCES services (id),
    machine    TEXT    NOT NULL -- JSON of portal.Machine, when its snapshots were last read
);

CREATE TABLE IF NOT EXISTS snapshot_configs (
    snapshot_id INTEGER PRIMARY KEY REFERENCES snapshots (id),
    machine     TEXT    NOT NULL, -- JSON of portal.Machine: what the machine was
    used        INTEGER NOT NULL DEFAULT -1 -- bytes that the machine's disks took right after, -1 = the storage doesn't tell
);
