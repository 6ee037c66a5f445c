package api

import "time"

// Condition is one thing that is wrong with the daemon as a whole.
type Condition struct {
	Name    string    `json:"name"`    // a stable word
	Since   time.Time `json:"since"`   // it has held since then
	Message string    `json:"message"` // one sentence, without a full stop
	Advice  string    `json:"advice"`  // what to do
}
