// Package engine owns everything that lives and changes: shards with one inbox, one deadline heap and one goroutine each,
// which drive the pure machines of pkg/control, pkg/ppp and pkg/call. Whatever may sleep runs in bounded executors and comes
// back as a message.
package engine
