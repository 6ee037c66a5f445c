package api

// Pool is how much of a configured pool of addresses or prefixes is in use.
type Pool struct {
	Name string `json:"name"`
	Used uint64 `json:"used"` // by sessions, or kept for users, calls and the daemon itself
	Size uint64 `json:"size"`
}

// Load is how busy the daemon's own loops and workers are.
type Load struct {
	Loops     []Loop     `json:"loops"`
	Executors []Executor `json:"executors"`
}

// Loop is one of the loops that run tunnels and sessions. Its times are of turns, each of which works on all messages that have come.
type Loop struct {
	Messages uint64    `json:"messages"`
	Wait     Histogram `json:"wait"` // of the message of a turn that waited longest
	Run      Histogram `json:"run"`
}

// Histogram counts times by upper bounds, which it shares with all others: LoadBounds. The last count is of those above all of them.
type Histogram struct {
	Counts []uint64 `json:"counts"`
	Sum    float64  `json:"sum"` // seconds
}

// LoadBounds are the bounds of every Histogram, in seconds.
func LoadBounds() []float64 {
	return []float64{10e-6, 100e-6, 1e-3, 5e-3, 10e-3, 50e-3, 0.1, 0.5, 1, 5}
}

// Executor is a queue of what may sleep, and those who work on it.
type Executor struct {
	Name    string `json:"name"` // what is done there: kernel, names, radius
	Queued  int    `json:"queued"`
	Working int    `json:"working"`
	Limit   int    `json:"limit"` // most that work at a time
}
