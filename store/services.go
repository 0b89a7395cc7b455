package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"stowage/portal"
)

const serviceColumns = `s.id, s.uid, s.client_id, s.product_id, s.server_id, s.vmid, s.name, s.brand, s.state, s.quota, s.mode, s.own,
	s.machine_uuid, s.machine_made, s.machine_macs, s.node, s.status, s.lock, s.lock_since, s.uptime, s.hardware, s.seen_at, s.config_at,
	s.addresses, s.lock_stale_at, s.lock_task`

func scanService(s scanner) (v portal.Service, err error) {
	var quota, lockSince, seen, config, stale sql.NullInt64
	var uptime int64
	var own, hardware, addresses string
	err = s.Scan(&v.ID, &v.UID, &v.ClientID, &v.ProductID, &v.ServerID, &v.VMID, &v.Name, &v.Brand, &v.State, &quota, &v.Mode, &own,
		&v.Identity.UUID, &v.Identity.Made, &v.Identity.MACs, &v.Node, &v.Status, &v.Lock, &lockSince, &uptime, &hardware, &seen, &config,
		&addresses, &stale, &v.LockTask)
	if err != nil {
		return v, err
	}
	if quota.Valid {
		q := int(quota.Int64)
		v.Quota = &q
	}
	v.Identity = identityKept(v.Identity)
	v.LockSince, v.SeenAt, v.ConfigAt, v.LockStaleAt = at(lockSince), at(seen), at(config), at(stale)
	v.Uptime = time.Duration(uptime) * time.Second
	if own != "{}" {
		if err := json.Unmarshal([]byte(own), &v.Own); err != nil {
			return v, err
		}
	}
	if addresses != "[]" {
		if err := json.Unmarshal([]byte(addresses), &v.Addresses); err != nil {
			return v, err
		}
	}
	return v, json.Unmarshal([]byte(hardware), &v.Hardware)
}

// AddService adopts an existing machine: nothing on it changes. The service must carry the identity and the
// node that were read from Proxmox.
func (db *DB) AddService(ctx context.Context, actor string, s portal.Service, zone string) (portal.Service, error) {
	name, err := portal.CleanName("name", s.Name)
	if err != nil {
		return s, err
	}
	if err := tellable(s.Identity); err != nil {
		return s, err
	}
	if _, err := portal.Zone(zone); err != nil {
		return s, err
	}
	if err := s.Own.Validate(true); err != nil {
		return s, err
	}
	s.Name, s.UID, s.State = name, db.UID(), portal.ServiceActive
	err = db.update(ctx, "add service", func(t *tx) error {
		s.ID, err = t.insert(`INSERT INTO services (uid, client_id, product_id, server_id, vmid, name, brand, state, quota, mode, own,
				machine_uuid, machine_made, machine_macs, node, status, hardware, seen_at, config_at, created_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)`,
			s.UID, s.ClientID, s.ProductID, s.ServerID, s.VMID, s.Name, s.Brand, s.State, s.Quota, s.Mode, tojson(s.Own),
			strings.ToLower(s.Identity.UUID), s.Identity.Made, s.Identity.MACs, s.Node, s.Status, tojson(s.Hardware), t.now.Unix(), t.now.Unix(), t.now.Unix())
		if unique(err, "services.server_id") {
			return portal.Invalid("vmid", "Machine %d on that server belongs to a service already.", s.VMID)
		}
		if err != nil {
			return err
		}
		if _, err := t.exec(`INSERT INTO schedules (uid, service_id, zone, days, planned, saved_at) VALUES ($1, $2, $3, $4, $5, $6)`,
			db.UID(), s.ID, zone, tojson(portal.Schedule{}.Days), t.now.Unix(), t.now.Unix()); err != nil {
			return err
		}
		t.touch(s.ID)
		return t.audit(Entry{Actor: actor, Action: "service.add", Entity: "service", EntityUID: s.UID, ServiceID: s.ID,
			After: tojson(map[string]any{"name": s.Name, "vmid": s.VMID, "server": s.ServerID, "product": s.ProductID, "client": s.ClientID})})
	})
	return s, err
}

// tellable refuses an identity by which a machine can't be told from others.
func tellable(v portal.Identity) error {
	if v.UUID == "" && (v.Made == 0 || v.MACs == "") || v.Bare && v.MACs == "" {
		return portal.Invalid("vmid", "The machine can't be told from others: its config has neither an smbios1 uuid nor a creation time with a network card.")
	}
	return nil
}

// ClientService gives a client's service by uid. A foreign one and a missing one are the same not-found.
func (db *DB) ClientService(ctx context.Context, clientID int64, uid string) (portal.Service, error) {
	v, err := scanService(db.read.QueryRowContext(ctx,
		`SELECT `+serviceColumns+` FROM services s WHERE s.client_id = $1 AND s.uid = $2 AND s.state <> 'terminated'`, clientID, uid))
	return v, missing(err)
}

// ServiceByUID gives any service by uid: for staff and commands, never for a client's page.
func (db *DB) ServiceByUID(ctx context.Context, uid string) (portal.Service, error) {
	v, err := scanService(db.read.QueryRowContext(ctx, `SELECT `+serviceColumns+` FROM services s WHERE s.uid = $1`, uid))
	return v, missing(err)
}

// Service gives any service by id: for jobs.
func (db *DB) Service(ctx context.Context, id int64) (portal.Service, error) {
	return service(ctx, db.read, id)
}

func service(ctx context.Context, q querier, id int64) (portal.Service, error) {
	v, err := scanService(q.QueryRowContext(ctx, `SELECT `+serviceColumns+` FROM services s WHERE s.id = $1`, id))
	return v, missing(err)
}

// ServicesOn gives the services of a server that have or should have a machine.
func (db *DB) ServicesOn(ctx context.Context, serverID int64) ([]portal.Service, error) {
	return collect(ctx, db.read, scanService,
		`SELECT `+serviceColumns+` FROM services s WHERE s.server_id = $1 AND s.state <> 'terminated' ORDER BY s.vmid`, serverID)
}

// Machine is how a service's machine was last seen: what a look at its server is compared with.
type Machine struct {
	ServiceID int64
	ServerID  int64
	VMID      int
	State     portal.ServiceState
	Node      string
	Status    string
	Lock      string
	SeenAt    time.Time
}

func machines(ctx context.Context, q querier, where string, args ...any) ([]Machine, error) {
	return collect(ctx, q, func(s scanner) (m Machine, err error) {
		var seen int64
		err = s.Scan(&m.ServiceID, &m.ServerID, &m.VMID, &m.State, &m.Node, &m.Status, &m.Lock, &seen)
		m.SeenAt = time.Unix(seen, 0).UTC()
		return m, err
	}, `SELECT id, server_id, vmid, state, node, status, lock, seen_at FROM services `+where, args...)
}

// MachinesOn gives the machines of the services of a server, those that should have one included.
func (db *DB) MachinesOn(ctx context.Context, serverID int64) ([]Machine, error) {
	return machines(ctx, db.read, `WHERE server_id = $1 AND state <> 'terminated' ORDER BY vmid`, serverID)
}

// Machines gives the machines of these services, by server and number, but for those that are gone.
func (db *DB) Machines(ctx context.Context, serviceIDs []int64) (all []Machine, err error) {
	for some := range slices.Chunk(serviceIDs, 500) {
		cond := terms{}
		cond.and("id IN " + in(&cond, some) + " AND state NOT IN ('terminated', 'machine_gone')")
		these, err := machines(ctx, db.read, cond.String(), cond.args...)
		if err != nil {
			return nil, err
		}
		all = append(all, these...)
	}
	slices.SortFunc(all, func(a, b Machine) int { return cmp.Or(cmp.Compare(a.ServerID, b.ServerID), a.VMID-b.VMID) })
	return all, nil
}

// Sighting is how a machine was seen just now.
type Sighting struct {
	ServiceID int64
	Node      string
	Status    string
	Lock      string
	Uptime    time.Duration
	Same      bool // place, status and lock are as they were when last read, and the machine was there
}

// SaveSightings keeps how machines were seen, and touches the pages of those that look different now.
func (db *DB) SaveSightings(ctx context.Context, seen []Sighting) error {
	if len(seen) == 0 {
		return nil
	}
	return db.update(ctx, "save sightings", func(t *tx) error { return t.sightings(seen) })
}

func (t *tx) sightings(seen []Sighting) error {
	var same []Sighting
	for _, s := range seen {
		if s.Same {
			same = append(same, s)
		} else if err := t.sighting(s); err != nil {
			return err
		}
	}
	for some := range slices.Chunk(same, rowsAtOnce) {
		args := []any{t.now.Unix()}
		for _, s := range some {
			args = append(args, s.ServiceID, int64(s.Uptime/time.Second))
		}
		if _, err := t.exec(`UPDATE services SET seen_at = $1, uptime = d.uptime, unseen = 0, unseen_since = NULL
			FROM (SELECT column1 AS id, column2 AS uptime FROM (VALUES `+tuples(len(some), 1, 2, `($%d, $%d)`)+`)) AS d WHERE services.id = d.id`, args...); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) sighting(s Sighting) error {
	var changed, moved bool
	err := t.QueryRowContext(t.ctx, `SELECT node <> $1 OR status <> $2 OR lock <> $3, node <> $1 FROM services WHERE id = $4`,
		s.Node, s.Status, s.Lock, s.ServiceID).Scan(&changed, &moved)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = t.exec(`UPDATE services SET node = $1, status = $2, uptime = $3, seen_at = $4, unseen = 0, unseen_since = NULL,
			lock_since = CASE WHEN $5 = '' THEN NULL WHEN lock = $5 THEN lock_since ELSE $4 END,
			lock_stale_at = CASE WHEN lock = $5 THEN lock_stale_at END, lock_task = CASE WHEN lock = $5 THEN lock_task ELSE '' END, lock = $5,
			state = CASE WHEN state = 'machine_gone' THEN 'active' ELSE state END
		WHERE id = $6`, s.Node, s.Status, int64(s.Uptime/time.Second), t.now.Unix(), s.Lock, s.ServiceID)
	if changed {
		t.touch(s.ServiceID)
	}
	if moved && err == nil {
		err = t.followMachine(s.ServiceID)
	}
	return err
}

// followMachine puts what waits into the line of the host that the machine is on by now.
func (t *tx) followMachine(serviceID int64) error {
	_, err := t.exec(`UPDATE operations SET node = (SELECT node FROM services WHERE id = $1) WHERE service_id = $1 AND state = 'queued'`, serviceID)
	return err
}

// unseenNeeded is how many complete inventories in a row must lack a machine, over at least unseenFor, before
// its service is called machine_gone.
const (
	unseenNeeded = 3
	unseenFor    = 10 * time.Minute
)

// SaveUnseen counts that complete inventories of a server lacked these machines, and calls those gone that
// were lacking often and long enough.
func (db *DB) SaveUnseen(ctx context.Context, ids []int64) error {
	if len(ids) == 0 {
		return nil
	}
	return db.update(ctx, "save unseen", func(t *tx) error {
		for _, id := range ids {
			if _, err := t.exec(`UPDATE services SET unseen = unseen + 1, unseen_since = COALESCE(unseen_since, $1) WHERE id = $2 AND state IN ('active', 'suspended')`,
				t.now.Unix(), id); err != nil {
				return err
			}
			var uid string
			var state portal.ServiceState
			var told bool
			err := t.QueryRowContext(t.ctx, `SELECT uid, state, EXISTS (SELECT 1 FROM outbox m WHERE m.service_id = s.id AND m.topic = 'service.machine_gone' AND m.created_at >= s.unseen_since)
				FROM services s WHERE id = $1 AND state IN ('active', 'suspended') AND unseen >= $2 AND unseen_since <= $3`,
				id, unseenNeeded, t.now.Add(-unseenFor).Unix()).Scan(&uid, &state, &told)
			if errors.Is(err, sql.ErrNoRows) {
				continue
			}
			if err != nil {
				return err
			}
			if state == portal.ServiceSuspended { // stays so: a machine that comes back must not let its client in
				if !told {
					err = t.post(Message{Channel: "staff", ServiceID: id, Topic: "service.machine_gone", Payload: map[string]any{"service": uid, "why": "suspended, and not in three complete inventories"}})
				}
				if err != nil {
					return err
				}
				continue
			}
			if err := t.serviceState(id, uid, portal.ServiceMachineGone, "engine", "not in three complete inventories"); err != nil {
				return err
			}
		}
		return nil
	})
}

// notSuspended refuses what a client asks for while the service is suspended: they may look, and nothing else.
func (t *tx) notSuspended(serviceID int64) error {
	var state portal.ServiceState
	if err := t.QueryRowContext(t.ctx, `SELECT state FROM services WHERE id = $1`, serviceID).Scan(&state); err != nil {
		return missing(err)
	}
	if state == portal.ServiceSuspended {
		return portal.Refuse(portal.CodeForbidden, "This service is suspended: you can look at everything, but not change it.")
	}
	return nil
}

// SetServiceState changes what a service is to the business, and says why.
func (db *DB) SetServiceState(ctx context.Context, actor string, s portal.Service, state portal.ServiceState, why string) error {
	return db.update(ctx, "set service state", func(t *tx) error { return t.serviceState(s.ID, s.UID, state, actor, why) })
}

func (t *tx) serviceState(id int64, uid string, state portal.ServiceState, actor, why string) error {
	var before string
	if err := t.QueryRowContext(t.ctx, `SELECT state FROM services WHERE id = $1`, id).Scan(&before); err != nil {
		return missing(err)
	}
	if before == string(state) {
		return nil
	}
	if _, err := t.exec(`UPDATE services SET state = $1 WHERE id = $2`, state, id); err != nil {
		return err
	}
	t.touch(id)
	if err := t.audit(Entry{Actor: actor, Action: "service.state", Entity: "service", EntityUID: uid, ServiceID: id, Before: before, After: string(state) + ": " + why}); err != nil {
		return err
	}
	if state == portal.ServiceMachineGone || state == portal.ServiceMachineReplaced {
		return t.post(Message{Channel: "staff", ServiceID: id, Topic: "service." + string(state), Payload: map[string]any{"service": uid, "why": why}})
	}
	return nil
}

// AcceptMachine takes, by a person's word, the machine that now has a service's vmid for the service's own, and gives
// the service back the state it had before its machine was called gone or replaced. s carries what was read of that
// machine from Proxmox: identity, hardware, node and status. A machine that is another service's is refused: one
// client would get another's data.
func (db *DB) AcceptMachine(ctx context.Context, actor string, s portal.Service, reason string) (portal.Service, error) {
	reason = strings.TrimSpace(reason)
	if reason == "" {
		return s, portal.Invalid("reason", "Say why, in a few words.")
	}
	s.Identity.UUID = strings.ToLower(s.Identity.UUID)
	err := db.update(ctx, "accept machine", func(t *tx) error {
		known, err := service(ctx, t, s.ID)
		if err != nil {
			return err
		}
		if known.State != portal.ServiceMachineGone && known.State != portal.ServiceMachineReplaced {
			return portal.Refuse(portal.CodeConflict, "The service is %s: its machine is not in question.", known.State.Word())
		}
		if known.Identity.Bare && s.Identity.UUID == "" && s.Identity.Made == 0 && s.Identity.MACs != "" {
			s.Identity.UUID, s.Identity.Made, s.Identity.Bare = known.Identity.UUID, known.Identity.Made, true // its cards were changed by hand
		}
		if err := tellable(s.Identity); err != nil {
			return err
		}
		var other, otherUID string
		err = t.QueryRowContext(ctx, `SELECT name, uid FROM services WHERE id <> $1 AND state <> 'terminated'
			AND ($2 <> '' AND machine_uuid = $2 OR $2 = '' AND machine_uuid = '' AND machine_made = $3 AND machine_macs = $4) LIMIT 1`,
			s.ID, s.Identity.UUID, s.Identity.Made, s.Identity.MACs).Scan(&other, &otherUID)
		if err == nil {
			return portal.Refuse(portal.CodeConflict, "That machine belongs to the service %s (%s), or is a copy of its machine that kept its identity.", other, otherUID)
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		s.State = portal.ServiceActive
		err = t.QueryRowContext(ctx, `SELECT before FROM audit WHERE service_id = $1 AND action = 'service.state'
			AND before IN ('active', 'suspended', 'terminating') ORDER BY id DESC LIMIT 1`, s.ID).Scan(&s.State)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if _, err := t.exec(`UPDATE services SET machine_uuid = $1, machine_made = $2, machine_macs = $3, node = $4, status = $5, hardware = $6,
				seen_at = $7, config_at = $7, unseen = 0, unseen_since = NULL WHERE id = $8`,
			s.Identity.UUID, madeKept(s.Identity), s.Identity.MACs, s.Node, s.Status, tojson(s.Hardware), t.now.Unix(), s.ID); err != nil {
			return err
		}
		if err := t.followMachine(s.ID); err != nil {
			return err
		}
		if err := t.audit(Entry{Actor: actor, Action: "service.accept_machine", Entity: "service", EntityUID: s.UID, ServiceID: s.ID,
			Before: tojson(known.Identity), After: tojson(s.Identity)}); err != nil {
			return err
		}
		return t.serviceState(s.ID, s.UID, s.State, actor, "the right machine: "+reason)
	})
	return s, err
}

// SaveConfig keeps what a machine's config says of its hardware.
func (db *DB) SaveConfig(ctx context.Context, serviceID int64, h portal.Hardware) error {
	return db.update(ctx, "save config", func(t *tx) error {
		_, err := t.exec(`UPDATE services SET hardware = $1, config_at = $2 WHERE id = $3`, tojson(h), t.now.Unix(), serviceID)
		return err
	})
}

// SaveAddresses keeps where a machine can be reached.
func (db *DB) SaveAddresses(ctx context.Context, serviceID int64, addresses []string) error {
	return db.update(ctx, "save addresses", func(t *tx) error {
		r, err := t.exec(`UPDATE services SET addresses = $1 WHERE id = $2 AND addresses <> $1`, tojson(addresses), serviceID)
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil || n == 0 {
			return err
		}
		t.touch(serviceID)
		return nil
	})
}

// ReadConfigAgain lets a machine's config be read at the next occasion: it was started, or changed.
func (db *DB) ReadConfigAgain(ctx context.Context, serviceID int64) error {
	return db.update(ctx, "read config again", func(t *tx) error {
		_, err := t.exec(`UPDATE services SET config_at = 0 WHERE id = $1`, serviceID)
		return err
	})
}

// StaleConfigs gives services of a server whose machine's config was last read before an instant, by their machines'
// numbers from the one after a given number on. Those on hosts that are down are left out.
func (db *DB) StaleConfigs(ctx context.Context, serverID int64, afterVMID int, before time.Time, limit int) ([]portal.Service, error) {
	return collect(ctx, db.read, scanService, `SELECT `+serviceColumns+` FROM services s
		WHERE s.server_id = $1 AND s.vmid > $2 AND s.state IN ('active', 'suspended') AND s.config_at < $3 AND s.node <> ''
			AND NOT EXISTS (SELECT 1 FROM nodes n WHERE n.server_id = s.server_id AND n.name = s.node AND n.online = 0)
		ORDER BY s.vmid LIMIT +$4`, serverID, afterVMID, before.Unix(), limit)
}

// WantedStorages gives the names of the storages of a server that hold or get archives of services.
func (db *DB) WantedStorages(ctx context.Context, serverID int64) (map[string]bool, error) {
	names, err := collect(ctx, db.read, func(s scanner) (v string, err error) { return v, s.Scan(&v) },
		`SELECT DISTINCT p.storage FROM services s JOIN products p ON p.id = s.product_id WHERE s.server_id = $1 AND s.state <> 'terminated'
		UNION SELECT DISTINCT storage FROM backups WHERE server_id = $1 AND service_id IS NOT NULL AND removed_at IS NULL`, serverID)
	out := make(map[string]bool, len(names))
	for _, n := range names {
		out[n] = true
	}
	return out, err
}

// SetServiceQuota gives a service its own number of copies, or (nil) the product's again. Copies above it stay
// until slots replace them one by one, or a person removes them.
func (db *DB) SetServiceQuota(ctx context.Context, actor, serviceUID string, quota *int) error {
	if quota != nil && (*quota < 0 || *quota > 1000) {
		return portal.Invalid("quota", "The backup quota is a number from 0 to 1000.")
	}
	return db.update(ctx, "set service quota", func(t *tx) error {
		s, err := scanService(t.QueryRowContext(ctx, `SELECT `+serviceColumns+` FROM services s WHERE s.uid = $1`, serviceUID))
		if err != nil {
			return missing(err)
		}
		if _, err := t.exec(`UPDATE services SET quota = $1 WHERE id = $2`, quota, s.ID); err != nil {
			return err
		}
		t.touch(s.ID)
		return t.audit(Entry{Actor: actor, Action: "service.quota", Entity: "service", EntityUID: s.UID, ServiceID: s.ID, Before: tojson(s.Quota), After: tojson(quota)})
	})
}

// SetServiceOwn gives a service what its machine has in place of its product's. Nothing on the machine changes.
func (db *DB) SetServiceOwn(ctx context.Context, actor, serviceUID string, own portal.Spec) error {
	if err := own.Validate(true); err != nil {
		return err
	}
	return db.update(ctx, "set service own", func(t *tx) error {
		s, err := scanService(t.QueryRowContext(ctx, `SELECT `+serviceColumns+` FROM services s WHERE s.uid = $1`, serviceUID))
		if err != nil {
			return missing(err)
		}
		if _, err := t.exec(`UPDATE services SET own = $1 WHERE id = $2`, tojson(own), s.ID); err != nil {
			return err
		}
		t.touch(s.ID)
		return t.audit(Entry{Actor: actor, Action: "service.own", Entity: "service", EntityUID: s.UID, ServiceID: s.ID, Before: tojson(s.Own), After: tojson(own)})
	})
}
