package sim

// Schedule returns the random steps of a seed.
func Schedule(s *Scenario, seed uint64, events int) []Step {
	return s.schedule(seed, FuzzOptions{Faults: Faults(), Events: events})
}
