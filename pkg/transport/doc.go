// Package transport owns the UDP sockets: listeners, and one connected socket per established tunnel for the kernel's data.
// Every socket, listener or tunnel, feeds the same handler.
package transport
