// Package health says what is wrong with the daemon as a whole: named conditions, judged from Snapshots. A condition is raised when it has
// held for its delay, and not while another one holds that explains it. The package is pure: time and Snapshots come in, changes
// go out.
package health
