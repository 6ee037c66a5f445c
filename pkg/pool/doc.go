// Package pool hands out the addresses of a pool (S156, S161), or its prefixes: never one twice at a time, and to the same user
// the same one where possible.
package pool
