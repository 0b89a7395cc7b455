-- +goose Up
-- What is sold is more than what was seen of a machine: a product's hardware has a shape of its own from here on.
UPDATE products SET hardware = json_patch('{}', json_object(
    'sockets', json_extract(hardware, '$.sockets'),
    'cores', json_extract(hardware, '$.cores'),
    'memory_mb', json_extract(hardware, '$.memory_mb'),
    'system', json_object(
        'device', json_extract(hardware, '$.disks[0].key'),
        'storage', json_extract(hardware, '$.disks[0].storage'),
        'size_gib', json_extract(hardware, '$.disks[0].size') / 1073741824),
    'net', json_object(
        'bridge', json_extract(hardware, '$.nets[0].bridge'),
        'vlan', json_extract(hardware, '$.nets[0].tag'))))
WHERE json_extract(hardware, '$.system') IS NULL AND json_extract(hardware, '$.net') IS NULL;

ALTER TABLE products ADD COLUMN safety_copy INTEGER NOT NULL DEFAULT 1 CHECK (safety_copy IN (0, 1)) /* the present state is saved before a restore */;
ALTER TABLE products ADD COLUMN snapshot_memory INTEGER NOT NULL DEFAULT 1 CHECK (snapshot_memory IN (0, 1)) /* snapshots may hold a running machine's memory */;
ALTER TABLE services ADD COLUMN own TEXT NOT NULL DEFAULT '{}' /* JSON of portal.Spec: what is this machine's alone, and what it has in place of the product's */;
-- The address of its card is a machine's own.
UPDATE services SET own = json_object('net', json_object('mac', json_extract(hardware, '$.nets[0].mac')))
WHERE json_extract(hardware, '$.nets[0].key') = 'net0' AND json_extract(hardware, '$.nets[0].mac') <> '';
