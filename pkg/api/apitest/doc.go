// Package apitest is a Backend for tests of what stands on the API. It holds a fixed picture of a daemon, filters it as the contract of
// api.Backend says, and lets actions change it.
package apitest
