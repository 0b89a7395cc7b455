package portal

import (
	"cmp"
	"container/heap"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"
	"time"
)

// Limits is how much may run at once.
type Limits struct {
	PerNode    int // vzdumps on a node, whoever's they are
	PerStorage int // vzdumps to a storage
	PerServer  int // vzdumps on a server
}

// DefaultLimits are those that hold where no setting says otherwise.
var DefaultLimits = Limits{PerNode: 1, PerStorage: 4, PerServer: 8}

// Candidate is a queued operation that could start now.
type Candidate struct {
	OperationID int64
	Client      int64
	Server      int64
	Node        string
	Storage     string // names the place where archives lie: with its node where it is not shared
	Manual      bool
	Due         time.Time // the slot's due instant; of manual work the instant it was asked for
	Enqueued    time.Time
	Kind        Kind // KindDelete, or a kind that runs a vzdump
}

// Running is work that holds a place now.
type Running struct {
	Client  int64 // 0 where it isn't ours
	Server  int64
	Node    string
	Storage string // "" where not known
	Manual  bool
	Foreign bool // not started by this portal
	Kind    Kind
}

// Admission is who may start, and what the others wait for.
type Admission struct {
	Start    []int64        // operations, in the order in which they go
	Position map[int64]int  // of those that wait: place in the line of their node (deletions: of their storage), from 1
	Why      map[int64]Text // of those that wait: for the client, a clause such as "another backup runs on your host"
}

// WaitNode is what an operation waits for while another vzdump of ours runs on its node. Proxmox itself keeps it
// waiting, too.
const WaitNode Text = "another backup runs on your host"

// WaitForeign is the same where the other vzdump isn't ours.
const WaitForeign Text = "a backup of your provider's runs on your host"

// What a queued operation waits for otherwise.
const (
	waitStorage  Text = "the backup storage is busy with other backups"
	waitServer   Text = "as many backups run as your provider allows at once"
	waitDeletion Text = "another backup is being removed from the storage"
)

// Admit decides which of the waiting operations start. A node runs one vzdump, whoever's it is; a storage and a
// server bear a few. Removals run one at a time for each storage and take no place from backups.
//
// In each line the manual lane comes first: one manual operation of each client that has none running, by the
// time it was asked for. The rest goes round robin over clients: a client's turn comes the later, the more of
// its work runs already and was served this night, then by due instant; what is alike in all of that goes by lot.
// A candidate whose storage is busy does not hold up those behind it. The cost is n log n.
func Admit(waiting []Candidate, running []Running, limits Limits, served map[int64]int) Admission {
	a := newAdmitter(waiting, running, limits, served)
	a.order()
	a.pick()
	return a.outcome()
}

type place struct {
	server int64
	name   string
}

type admitter struct {
	limits   Limits
	nodes    map[place]int
	foreign  map[place]bool
	storages map[place]int
	servers  map[int64]int
	removals map[place]int
	turns    map[int64]int  // by client: served and running
	manual   map[int64]bool // clients with manual work running
	begun    map[int64]int  // by client: started by this very call
	queue    []*waiter
	start    []int64
}

// waiter is a candidate with its place in the order.
type waiter struct {
	*Candidate
	removal bool
	line    int // number of its node's (or storage's) line
	lane    int // 0 = manual lane
	round   int // which of its client's turns
	started bool
}

func newAdmitter(waiting []Candidate, running []Running, limits Limits, served map[int64]int) *admitter {
	a := &admitter{
		limits: limits, nodes: map[place]int{}, foreign: map[place]bool{}, storages: map[place]int{},
		servers: map[int64]int{}, removals: map[place]int{}, turns: map[int64]int{}, manual: map[int64]bool{},
		begun: map[int64]int{},
	}
	for client, n := range served {
		a.turns[client] = n
	}
	for _, r := range running {
		if !r.Foreign {
			a.turns[r.Client]++
			a.manual[r.Client] = a.manual[r.Client] || r.Manual
		}
		if r.Kind == KindDelete {
			a.removals[place{r.Server, r.Storage}]++
			continue
		}
		node := place{r.Server, r.Node}
		a.nodes[node]++
		a.foreign[node] = a.foreign[node] || r.Foreign
		a.servers[r.Server]++
		if r.Storage != "" {
			a.storages[place{r.Server, r.Storage}]++
		}
	}
	type lineKey struct {
		place
		removal bool
	}
	lines := map[lineKey]int{}
	cells := make([]waiter, len(waiting))
	a.queue = make([]*waiter, len(waiting))
	for i := range waiting {
		w := &cells[i]
		w.Candidate, w.removal = &waiting[i], waiting[i].Kind == KindDelete
		key := lineKey{place{w.Server, w.Node}, w.removal}
		if w.removal {
			key.name = w.Storage
		}
		line, ok := lines[key]
		if !ok {
			line = len(lines)
			lines[key] = line
		}
		w.line = line
		a.queue[i] = w
	}
	return a
}

// order gives every candidate its lane and round, and sorts them as they stand in their lines.
func (a *admitter) order() {
	byAge := func(x, y *waiter) int {
		return cmp.Or(x.Enqueued.Compare(y.Enqueued), cmp.Compare(x.OperationID, y.OperationID))
	}
	first := map[int64]*waiter{} // each client's own in the manual lane
	for _, w := range a.queue {
		w.lane = 1
		if w.Manual && !a.manual[w.Client] && (first[w.Client] == nil || byAge(w, first[w.Client]) < 0) {
			first[w.Client] = w
		}
	}
	for _, w := range first {
		w.lane = 0
	}
	slices.SortFunc(a.queue, func(x, y *waiter) int {
		return cmp.Or(cmp.Compare(x.line, y.line), cmp.Compare(x.Client, y.Client), cmp.Compare(x.lane, y.lane), x.Due.Compare(y.Due), byAge(x, y))
	})
	for i, w := range a.queue {
		w.round = a.turns[w.Client]
		if i > 0 && a.queue[i-1].line == w.line && a.queue[i-1].Client == w.Client {
			w.round = a.queue[i-1].round + 1
		}
	}
}

// stream is what one client has in one line, in its order; only its head competes.
type stream struct {
	waiters []*waiter
	turn    int // the head's turn when it was put into the heap
}

type streams []*stream

func (s streams) Len() int      { return len(s) }
func (s streams) Swap(i, j int) { s[i], s[j] = s[j], s[i] }
func (s streams) Less(i, j int) bool {
	x, y := s[i].waiters[0], s[j].waiters[0]
	if x.lane == 0 && y.lane == 0 { // the manual lane goes by the time it was asked for
		return cmp.Or(x.Enqueued.Compare(y.Enqueued), cmp.Compare(x.OperationID, y.OperationID)) < 0
	}
	return cmp.Or(cmp.Compare(x.lane, y.lane), cmp.Compare(s[i].turn, s[j].turn), x.Due.Compare(y.Due), byLot(x, y)) < 0
}

// byLot orders work of different clients that is due at the same instant, and was enqueued at the same: another order
// each night, because numbers of operations are new each night. In their order one client would be the last every time.
func byLot(x, y *waiter) int {
	return cmp.Or(x.Enqueued.Compare(y.Enqueued), cmp.Compare(x.lot(), y.lot()), cmp.Compare(x.OperationID, y.OperationID))
}

// lot is a number that looks like a random one, always the same for an operation.
func (w *waiter) lot() uint64 {
	z := uint64(w.OperationID) * 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func (s *streams) Push(x any) { *s = append(*s, x.(*stream)) }
func (s *streams) Pop() any {
	last := len(*s) - 1
	x := (*s)[last]
	*s = (*s)[:last]
	return x
}

// pick starts what may start, in the order of all lines together.
func (a *admitter) pick() {
	var line streams
	for i := 0; i < len(a.queue); {
		j := i + 1
		for j < len(a.queue) && a.queue[j].line == a.queue[i].line && a.queue[j].Client == a.queue[i].Client {
			j++
		}
		if !a.lineFull(a.queue[i]) {
			line = append(line, &stream{waiters: a.queue[i:j], turn: a.turns[a.queue[i].Client]})
		}
		i = j
	}
	heap.Init(&line)
	for line.Len() > 0 {
		s := line[0]
		w := s.waiters[0]
		turn := a.turns[w.Client] + a.begun[w.Client]
		switch {
		case a.lineFull(w):
			heap.Pop(&line)
		case s.turn != turn:
			s.turn = turn
			heap.Fix(&line, 0)
		default:
			if a.why(w) == "" {
				a.begin(w)
			}
			if s.waiters = s.waiters[1:]; len(s.waiters) == 0 {
				heap.Pop(&line)
			} else {
				heap.Fix(&line, 0)
			}
		}
	}
}

func (a *admitter) begin(w *waiter) {
	w.started = true
	a.start = append(a.start, w.OperationID)
	a.begun[w.Client]++
	if w.removal {
		a.removals[place{w.Server, w.Storage}]++
		return
	}
	a.nodes[place{w.Server, w.Node}]++
	a.storages[place{w.Server, w.Storage}]++
	a.servers[w.Server]++
}

// lineFull tells whether nothing of w's line can start any more.
func (a *admitter) lineFull(w *waiter) bool {
	if w.removal {
		return a.removals[place{w.Server, w.Storage}] >= 1
	}
	return a.nodes[place{w.Server, w.Node}] >= a.limits.PerNode || a.servers[w.Server] >= a.limits.PerServer
}

// why says what keeps w from starting, or "".
func (a *admitter) why(w *waiter) Text {
	node := place{w.Server, w.Node}
	switch {
	case w.removal && a.removals[place{w.Server, w.Storage}] >= 1:
		return waitDeletion
	case w.removal:
		return ""
	case a.nodes[node] >= a.limits.PerNode && a.foreign[node]:
		return WaitForeign
	case a.nodes[node] >= a.limits.PerNode:
		return WaitNode
	case a.storages[place{w.Server, w.Storage}] >= a.limits.PerStorage:
		return waitStorage
	case a.servers[w.Server] >= a.limits.PerServer:
		return waitServer
	}
	return ""
}

// outcome numbers those that wait, line by line.
func (a *admitter) outcome() Admission {
	out := Admission{
		Start: a.start, Position: make(map[int64]int, len(a.queue)), Why: make(map[int64]Text, len(a.queue)),
	}
	slices.SortFunc(a.queue, func(x, y *waiter) int {
		c := cmp.Or(cmp.Compare(x.line, y.line), cmp.Compare(x.lane, y.lane))
		if c == 0 && x.lane != 0 {
			return cmp.Or(cmp.Compare(x.round, y.round), x.Due.Compare(y.Due), byLot(x, y))
		}
		return cmp.Or(c, x.Enqueued.Compare(y.Enqueued), cmp.Compare(x.OperationID, y.OperationID))
	})
	line, position := -1, 0
	for _, w := range a.queue {
		if w.line != line {
			line, position = w.line, 0
		}
		if w.started {
			continue
		}
		position++
		out.Position[w.OperationID], out.Why[w.OperationID] = position, a.why(w)
	}
	return out
}

// Spread gives how long after its due instant a scheduled backup begins: 0 to window, in whole seconds, always
// the same for one service and date, and evenly spread over services.
func Spread(serviceUID string, date Date, window time.Duration) time.Duration {
	seconds := int64(window / time.Second)
	if seconds <= 0 {
		return 0
	}
	sum := sha256.Sum256([]byte(strings.Join([]string{serviceUID, date.String()}, "|")))
	return time.Duration(binary.BigEndian.Uint64(sum[:8])%uint64(seconds+1)) * time.Second
}

// LoadByMinute counts instants by the minute of the day that the clock of loc shows.
func LoadByMinute(dues []time.Time, loc *time.Location) [1440]int {
	var load [1440]int
	for _, due := range dues {
		t := due.In(loc)
		load[60*t.Hour()+t.Minute()]++
	}
	return load
}

// favourite is the time that is suggested on a host with nothing to do: after the hour that spring changes cut
// out in most places, and early enough to be done by the morning.
const favourite TimeOfDay = 3*60 + 40

// QuietTime suggests a time from 01:00 to 05:00, on five minutes, at which a host has least to do. load counts
// the slots that fall due on it by minute of the day, in the zone of the suggestion. A backup weighs on the
// three quarters of an hour that follow it most, so what falls due shortly before a time counts, and what
// falls due soon after it as well; of equally quiet times the one nearest to 03:40 is taken.
func QuietTime(load [1440]int) TimeOfDay {
	const reach = 45
	best, least := favourite, -1
	for at := TimeOfDay(60); at <= 5*60; at += 5 {
		weight := 0
		for off := -reach; off <= reach; off++ {
			minute := (int(at) + off + minutesPerDay) % minutesPerDay
			weight += load[minute] * (reach + 1 - max(off, -off))
		}
		nearer := max(at-favourite, favourite-at) < max(best-favourite, favourite-best)
		if least < 0 || weight < least || weight == least && nearer {
			best, least = at, weight
		}
	}
	return best
}
