package pvesim

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// replay is one topic on its way through a simulator, over plain HTTP.
type replay struct {
	t                *testing.T
	sim              *Sim
	clock            *clock
	server           *httptest.Server
	names            map[string]string // recorded UPIDs, archive names, tickets to ours
	toOurs, toTheirs *strings.Replacer
	last             string // our last UPID
	secret           string // of the last token that was made

	release string
	topic   string
	xs      []exchange // the whole topic
	undo    func()     // of a fault that lasts over some steps
	lab     []labTask  // tasks that the simulator is told, those to come
	logins  map[string]login
	times   map[string]int // how often something happened already
}

type login struct {
	ticket, csrf string
	at           time.Time
}

// newReplay starts a simulator with the world that a topic begins with. wrap may stand between it and the client.
func newReplay(t *testing.T, release, topic string, xs []exchange, wrap func(http.Handler) http.Handler) *replay {
	t.Helper()
	begin := time.Unix(1795166000, 0)
	for _, x := range xs {
		if x.Time > 0 {
			begin = time.UnixMilli(int64(x.Time*1000) - 5000)
			break
		}
	}
	c := &clock{t: begin}
	// The lab's disks were the host's page cache: a GiB in a second. The seed
	// has pvestatd speak at about the moments when the lab's did.
	s, err := New(recordedWorld(release, topic, xs), Options{Release: release, Now: c.now, Sleep: c.sleep, Speed: 5.5, Seed: 7})
	if err != nil {
		t.Fatal(err)
	}
	ts := httptest.NewUnstartedServer(s)
	ts.Config = s.Server()
	if wrap != nil {
		ts.Config.Handler = wrap(s)
	}
	ts.Start()
	t.Cleanup(ts.Close)
	r := &replay{t: t, sim: s, clock: c, server: ts, names: map[string]string{}, toOurs: strings.NewReplacer(), toTheirs: strings.NewReplacer(), release: release, topic: topic, xs: xs, logins: map[string]login{}, times: map[string]int{}}
	r.lab = labTasks(xs)
	r.until(exchange{Time: float64(begin.UnixMilli()) / 1000})
	return r
}

// until lets the recorded time come.
func (r *replay) until(x exchange) {
	if at := time.UnixMilli(int64(x.Time * 1000)); x.Time > 0 && at.After(r.clock.now()) {
		r.clock.add(at.Sub(r.clock.now()))
	}
	r.tell(x.Line)
}

// event lets the world follow what is not simulated.
func (r *replay) event(x exchange) {
	r.until(x)
	if do := worldEvents[x.Topic+": "+x.Step]; do != nil {
		do(r)
	}
}

// step sends one request and says how the answer differs.
func (r *replay) step(x exchange) string {
	got := r.answer(x)
	if got.err != nil {
		return got.err.Error()
	}
	return r.compare(x, got)
}

// answer sends one request.
func (r *replay) answer(x exchange) reply {
	sent := x
	if x.Took > slow || x.Method != http.MethodGet && onMachines[r.topic] {
		sent.Time -= x.Took / 1000
	}
	r.until(sent)
	if do := worldEvents[x.Topic+": "+x.Step]; do != nil {
		do(r)
	}
	if strings.HasSuffix(x.Step, "/ task end status") {
		r.waitFor(r.ours(x.upid()))
	}
	got, err := r.send(x)
	if err != nil {
		return reply{err: err}
	}
	r.learn(x, got)
	return got
}

// slow is from when on an exchange is sent as long before its answer as it took, in milliseconds: it waited for
// somebody's lock file, or for the proxy to give up.
const slow = 2500

// upid is the task that a path names.
func (x exchange) upid() string {
	p, _ := url.PathUnescape(x.Path)
	at := strings.Index(p, "UPID:")
	if at < 0 {
		return ""
	}
	upid, _, _ := strings.Cut(p[at:], "/")
	return upid
}

// waitFor lets time pass until a task has ended: ours are not as fast as the lab's.
func (r *replay) waitFor(upid string) {
	for range 10_000 {
		for _, task := range r.sim.Tasks() {
			if task.UPID == upid && !task.Running() {
				return
			}
		}
		at, any := r.sim.NextEvent()
		if !any {
			return
		}
		r.clock.add(max(at.Sub(r.clock.now()), time.Millisecond))
	}
}

// ours puts our names in place of the recorded ones, theirs the other way.
func (r *replay) ours(s string) string { return r.toOurs.Replace(s) }

func (r *replay) theirs(s string) string { return r.toTheirs.Replace(s) }

// pair notes that both sides mean the same thing by two names.
func (r *replay) pair(theirs, ours string) {
	if theirs == "" || ours == "" || theirs == ours || r.names[theirs] == ours {
		return
	}
	r.names[theirs] = ours
	var there, back []string
	for _, theirs := range slices.Sorted(maps.Keys(r.names)) {
		there, back = append(there, theirs, r.names[theirs]), append(back, r.names[theirs], theirs)
	}
	r.toOurs, r.toTheirs = strings.NewReplacer(there...), strings.NewReplacer(back...)
}

// tokens maps who sent a recorded request to an Authorization header here.
var tokens = map[string]string{
	"api":           tokenScheme + "portal@pve!api=" + Secret,
	"none_tok":      tokenScheme + "portal@pve!none=" + Secret,
	"ro":            tokenScheme + "portal@pve!ro=" + Secret,
	"power":         tokenScheme + "portal@pve!power=" + Secret,
	"old":           tokenScheme + "portal@pve!old=" + Secret,
	"np":            tokenScheme + "portal@pve!np=" + Secret,
	"rootfull":      tokenScheme + "root@pam!full=" + Secret,
	"tok_badsecret": tokenScheme + "portal@pve!api=11111111-0000-4000-8000-000000000001",
	"tok_unknown":   tokenScheme + "portal@pve!nope=" + Secret,
	"tok_unkuser":   tokenScheme + "nobody@pve!api=" + Secret,
	"tok_malformed": tokenScheme + "garbage",
	"tok_bearer":    "Bearer abc",
}

// Passwords of the lab. In 06 to 12 root logged in before the recording.
const (
	rootPassword   = "lab-root-pw"
	portalPassword = "portal-lab-pw"
)

// credentials puts on a request who sent it: root and some others with a ticket, as in the lab.
func (r *replay) credentials(x exchange, req *http.Request) {
	cookie := func(ticket string) {
		req.AddCookie(&http.Cookie{Name: "PVEAuthCookie", Value: url.QueryEscape(ticket)})
	}
	withTicket := func(user, password string, csrf func(string) string) {
		l := r.logIn(user, password)
		cookie(l.ticket)
		if token := csrf(l.csrf); token != "" && req.Method != http.MethodGet {
			req.Header.Set("CSRFPreventionToken", token)
		}
	}
	as := func(token string) func(string) string { return func(string) string { return token } }
	same := func(token string) string { return token }
	switch x.Auth {
	case "none", "":
	case "root":
		withTicket(root, rootPassword, same)
	case "portal_ticket":
		withTicket("portal@pve", portalPassword, same)
	case "portal_nocsrf":
		withTicket("portal@pve", portalPassword, as(""))
	case "portal_badcsrf":
		withTicket("portal@pve", portalPassword, as("6B001253:bad"))
	case "badticket":
		cookie("PVE:garbage")
	case "forged":
		cookie(r.sim.ticket("portal@pve", r.clock.now().Unix()) + "x")
	case "expired_ticket":
		cookie(r.sim.ticket("portal@pve", r.clock.now().Add(-3*time.Hour).Unix()))
	default:
		token, known := tokens[x.Auth]
		if x.Auth == "cust" {
			token, known = tokenScheme+"cust@pve!tok="+r.secret, true // made in the course of 12
		}
		if !known {
			r.t.Fatalf("%s line %d: nobody is called %q", x.Topic, x.Line, x.Auth)
		}
		req.Header.Set("Authorization", token)
	}
}

func (r *replay) logIn(user, password string) login {
	if l, is := r.logins[user]; is && r.clock.now().Sub(l.at) < time.Hour {
		return l
	}
	// Not over HTTP: a login is an exchange of its own, and with the daemon down there is none.
	at := r.clock.now()
	if !r.sim.passwordFits(user, password, at.Unix()) {
		r.t.Fatalf("%s can't log in", user)
	}
	l := login{r.sim.ticket(user, at.Unix()), r.sim.csrfToken(user, at.Unix()), at}
	r.logins[user] = l
	return l
}

func (r *replay) send(x exchange) (reply, error) {
	r.meanArchive(x)
	form := url.Values{}
	for k, v := range x.Params {
		text := fmt.Sprint(v)
		if f, isNumber := v.(float64); isNumber {
			text = fmt.Sprint(int64(f))
		}
		form.Set(k, r.ours(unfill(text)))
	}
	base := apiPrefix
	if x.FullPath {
		base = ""
	}
	p := r.ours(x.Path)
	if theirs := x.upid(); theirs != "" {
		if before, after, escaped := strings.Cut(x.Path, url.QueryEscape(theirs)); escaped {
			p = before + url.PathEscape(r.ours(theirs)) + after
		}
	}
	target := r.server.URL + base + p
	var body io.Reader
	ctype := ""
	switch {
	case x.Sent != "":
		body = strings.NewReader(x.Sent)
		ctype = map[byte]string{'{': "application/json", '[': "application/json", 'h': "text/plain"}[x.Sent[0]]
		if ctype == "" {
			ctype = "application/x-www-form-urlencoded"
		}
	case (x.Method == "POST" || x.Method == "PUT") && len(form) > 0:
		body, ctype = strings.NewReader(form.Encode()), "application/x-www-form-urlencoded"
	case len(form) > 0:
		target += "?" + form.Encode()
	}
	req, err := http.NewRequestWithContext(r.t.Context(), x.Method, target, body)
	if err != nil {
		return reply{}, err
	}
	r.credentials(x, req)
	if ctype != "" {
		req.Header.Set("Content-Type", ctype)
	}
	got := read(r.server.Client().Do(req))
	return got, got.err
}

var filler = regexp.MustCompile(`^<(\d+) x (.)>$`)

// unfill writes out what the recording shortened.
func unfill(s string) string {
	if m := filler.FindStringSubmatch(s); m != nil {
		n := 0
		_, _ = fmt.Sscan(m[1], &n)
		return strings.Repeat(m[2], n)
	}
	return s
}

var (
	archiveName = regexp.MustCompile(`vzdump-qemu-\d+-\d{4}_\d\d_\d\d-\d\d_\d\d_\d\d`)
	ticketText  = regexp.MustCompile(`PVE:[^:"]+:[0-9A-F]{8}::[^"]+`)
)

// learn pairs the names that both sides gave to the same thing: the task that a call started, the archive that a log
// says is being written, the ticket of a login.
func (r *replay) learn(x exchange, got reply) {
	var theirs, ours string
	answered := exchange{Body: []byte(got.raw)}
	if x.data(&theirs) && answered.data(&ours) && strings.HasPrefix(theirs, "UPID:") && strings.HasPrefix(ours, "UPID:") {
		r.pair(theirs, ours)
		r.last = ours
	}
	if strings.HasSuffix(x.Path, "/log") {
		const creating = "creating vzdump archive "
		_, a, saysA := strings.Cut(string(x.Body), creating)
		_, b, saysB := strings.Cut(got.raw, creating)
		if saysA && saysB {
			r.pair(archiveName.FindString(a), archiveName.FindString(b))
		}
	}
	r.learnMachine(x, answered)
	r.pairOthers(x, answered)
	r.pair(ticketText.FindString(string(x.Body)), ticketText.FindString(got.raw))
	var token struct{ Value string }
	if strings.Contains(x.Path, "/token/") && answered.data(&token) {
		r.secret = token.Value
	}
}

var cardAddress = regexp.MustCompile(`(?i)(?:[0-9a-f]{2}:){5}[0-9a-f]{2}`)

// learnMachine pairs what both sides made up for a machine: a configuration's digest, its cards' addresses.
func (r *replay) learnMachine(x, answered exchange) {
	var theirs, ours map[string]any
	if !strings.HasSuffix(x.Path, "/config") || !x.data(&theirs) || !answered.data(&ours) {
		return
	}
	for key, value := range theirs {
		a, _ := value.(string)
		b, _ := ours[key].(string)
		switch {
		case key == "digest":
			r.pair(a, b)
		case netKey.MatchString(key):
			for _, change := range []func(string) string{strings.ToUpper, strings.ToLower} {
				r.pair(change(cardAddress.FindString(a)), change(cardAddress.FindString(b)))
			}
		}
	}
}

// sortedByTime puts what happened in its order; the same second keeps it.
func sortedByTime[T any](list []T, at func(T) int64) []T {
	slices.SortStableFunc(list, func(a, b T) int { return int(at(a) - at(b)) })
	return list
}
