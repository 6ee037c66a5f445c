package api

import (
	"context"
	"net/url"
)

// Watch returns all there is to see for one who looks again and again: the status, all tunnels, and all sessions with what the kernel
// has counted for them. TakenAt is that of the sessions. The status' sum of those counters is not brought up to date.
func Watch(ctx context.Context, c *Client) (*Snapshot, error) {
	status, err := c.get(ctx, "status", url.Values{"stats": {"false"}})
	if err != nil {
		return nil, err
	}
	tunnels, err := c.get(ctx, "tunnels", nil)
	if err != nil {
		return nil, err
	}
	snap, err := c.get(ctx, "sessions", url.Values{"stats": {"true"}})
	if err != nil {
		return nil, err
	}
	snap.Status, snap.Tunnels = status.Status, tunnels.Tunnels
	return snap, nil
}
