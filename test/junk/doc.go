// Package junk makes what no honest peer sends: random, truncated and mutated L2TP datagrams. The same seed gives the same
// datagrams, so that a crash can be repeated.
package junk
