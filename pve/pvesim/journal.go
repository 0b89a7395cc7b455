package pvesim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// The journal is one file with the whole state, written beside and put in its
// place. Only requests and others' changes need to be in it: what time alone
// does follows from the state and happens again, the same, after a restart.
const journalFile = "world.json"

func (s *Sim) save() (err error) {
	if err := os.MkdirAll(s.journal, 0o700); err != nil {
		return err
	}
	data, err := json.Marshal(s.st)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(s.journal, journalFile+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(s.journal, journalFile))
	}
	if err != nil {
		return err
	}
	dir, err := os.Open(s.journal)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	return dir.Sync()
}

// load takes the state from the journal, if there is one.
func (s *Sim) load() (bool, error) {
	data, err := os.ReadFile(filepath.Join(s.journal, journalFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := json.Unmarshal(data, &s.st); err != nil {
		return false, fmt.Errorf("pvesim: journal in %s: %w", s.journal, err)
	}
	if rel, known := releases[s.st.Release]; known {
		s.release = rel
	}
	if s.st.Freed == nil {
		s.st.Freed = map[int]int64{}
	}
	for _, g := range s.st.Guests {
		s.guests[g.VMID] = g
	}
	for _, sh := range s.st.Shelves {
		s.shelf[sh.Key] = sh
	}
	ended := make([]*task, s.st.Ended+1)
	for _, t := range s.st.Tasks {
		s.tasks[t.UPID] = t
		if t.End == 0 {
			s.active = append(s.active, t)
		} else {
			ended[t.Order] = t
		}
	}
	for _, t := range ended {
		if t != nil {
			s.done = append(s.done, t)
		}
	}
	return true, nil
}
