package store

import (
	"context"

	"stowage/portal"
)

// OperationQuery says which operations a list holds.
type OperationQuery struct {
	State   portal.State // "" = every state
	Service string       // uid; "" = every service
	Before  int64        // id; 0 = from the newest on
	Limit   int
}

// ListOperations gives operations over all services, newest first: for commands.
func (db *DB) ListOperations(ctx context.Context, q OperationQuery) ([]OperationLine, error) {
	if q.Before == 0 {
		q.Before = 1 << 62
	}
	lines, err := operationLines(ctx, db.read, `WHERE o.id < $1 AND ($2 = '' OR o.state = $2) AND ($3 = '' OR s.uid = $3)
		ORDER BY o.id DESC LIMIT +$4`, q.Before, q.State, q.Service, q.Limit)
	return lines, explainNil("list operations", err)
}

// ChangeProduct gives a service another product, and queues its application to the machine: whatever the machine is busy
// with is waited for. No copy is removed: what is over the new quota is shown as such.
func (db *DB) ChangeProduct(ctx context.Context, actor string, s portal.Service, p portal.Product) error {
	return db.update(ctx, "change product", func(t *tx) error {
		var before string
		err := t.QueryRowContext(t.ctx, `SELECT p.name FROM services s JOIN products p ON p.id = s.product_id WHERE s.id = $1`, s.ID).Scan(&before)
		if err != nil {
			return missing(err)
		}
		if err := t.one(portal.NotFound(), `UPDATE services SET product_id = $1 WHERE id = $2 AND state <> 'terminated'`, p.ID, s.ID); err != nil {
			return err
		}
		t.touch(s.ID)
		if err := t.applyPackage(actor, s.ID); err != nil {
			return err
		}
		return t.audit(Entry{Actor: actor, Action: "service.product", Entity: "service", EntityUID: s.UID, ServiceID: s.ID, Before: before, After: p.Name})
	})
}

// applyPackage queues that a machine is brought in step with its package. One that waits already will see the newest.
func (t *tx) applyPackage(actor string, serviceID int64) error {
	svc, err := service(t.ctx, t, serviceID)
	if err != nil {
		return err
	}
	situation, err := loadSituation(t.ctx, t, svc, t.now)
	if err != nil {
		return err
	}
	op, err := portal.ApplyPackage(actor)(situation)
	if err == nil {
		err = t.insertOperation(&op, situation)
	}
	switch portal.CodeOf(err) {
	case portal.CodeBusy, portal.CodeConflict: // it waits already, or there is no machine to apply it to
		return nil
	}
	return err
}
