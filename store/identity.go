package store

import (
	"context"

	"stowage/portal"
)

// services.machine_made is negative where the machine may also be without a uuid and a creation time: see
// portal.Identity.Bare. Its amount is the creation time, or 1 where there was none.

func madeKept(v portal.Identity) int64 {
	if !v.Bare {
		return v.Made
	}
	return -max(v.Made, 1)
}

func identityKept(v portal.Identity) portal.Identity {
	if v.Made < 0 {
		v.Bare, v.Made = true, -v.Made
		if v.Made == 1 {
			v.Made = 0
		}
	}
	return v
}

// BareMachine remembers that a machine is told by its cards alone from now on, because work of the portal's own leaves it
// without a uuid and a creation time. What it had of these is kept: a restore brings them back.
func (db *DB) BareMachine(ctx context.Context, serviceID int64, macs, operationUID string) error {
	return db.update(ctx, "bare machine", func(t *tx) error {
		known, err := service(ctx, t, serviceID)
		if err != nil {
			return err
		}
		next := known.Identity
		next.Bare, next.MACs = true, macs
		if next == known.Identity {
			return nil
		}
		if err := tellable(next); err != nil {
			return err
		}
		if _, err := t.exec(`UPDATE services SET machine_made = $1, machine_macs = $2 WHERE id = $3`, madeKept(next), next.MACs, serviceID); err != nil {
			return err
		}
		return t.audit(Entry{Actor: "engine", Action: "service.identity", Entity: "service", EntityUID: known.UID, ServiceID: serviceID,
			Before: tojson(known.Identity), After: tojson(next) + " by operation " + operationUID})
	})
}
