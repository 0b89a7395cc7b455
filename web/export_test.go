package web

// OnHash lets a test see each password hash that is computed: with which stored hash, and so at which cost.
func (s *Server) OnHash(see func(stored string)) {
	compare := s.compare
	s.compare = func(password, hash string) (bool, error) {
		see(hash)
		return compare(password, hash)
	}
}
