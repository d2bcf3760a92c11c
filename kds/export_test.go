package kds

// EnvoyStreams returns how many streams for questions to Envoys are open.
func (s *Server) EnvoyStreams() int {
	s.envoys.mu.Lock()
	defer s.envoys.mu.Unlock()
	return len(s.envoys.lines)
}
