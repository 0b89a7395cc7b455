// Package jobs does the work: it drives operations against Proxmox, plans what falls due, and keeps the database
// in step with what Proxmox holds. Pages never wait for it and it never answers a page; they meet in the store.
//
// # A turn
//
// An operation is a row; its kind names a list of steps; a step is one change to the outside world. The engine
// takes a turn at it: look at the world, ask portal.Decide for the one move, make it, save. A turn is a plain
// function (Engine.Turn): whoever calls it, whenever, it does the right next thing or nothing, because all that
// it needs stands in the row and in what Proxmox shows. Where a turn ends a step of work on a machine, the next
// one follows without a rest.
//
//	queued ──claim──▶ running ──▶ succeeded | failed | cancelled
//	   ▲                │  ▲
//	   └── nothing was  │  └── resume
//	       done, or a   ▼
//	       pause       held ──release──▶ failed
//
// # What can be lost, and what then
//
//   - The process dies before the intent is committed: nothing was sent; the next turn begins anew.
//   - It dies after the commit and before, during or after the request: the row says that a request may be under
//     way. The next turn looks for it in Proxmox's task list and adopts it, or waits until two clean looks show
//     that it never arrived.
//   - The answer is lost: the same.
//   - The task's own word is lost (its log rotated, its worker was killed): what the storage lists decides.
//   - The database is an older copy: archives that carry our mark are adopted, and nothing is deleted by itself
//     until every storage was listed twice.
//
// Nothing is concluded from an answer alone. A deletion is only ever sent for an archive that a listing with
// authority has just shown, by the rules of portal.Evict, with the clocks in agreement.
//
// # Who wakes it
//
// gocron wakes tick, drive and sync; each is a plain function that tests call with a clock of their own. The
// lease says which process on a database may do so; its epoch fences off one that lost it.
package jobs
