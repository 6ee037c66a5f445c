package engine

import (
	"fmt"
	"log/slog"
	"slices"

	"github.com/l2tpd/l2tpd/pkg/policy"
)

// logins are the sessions of each user who has logged in, the oldest first. Only shard 0 touches them.
type logins map[string][]*session

// enter counts a session that logs in as user, who may have limit at a time; 0: any number. The refusal says why it may not.
func (l logins) enter(user string, s *session, limit int, d policy.Duplicate) (refusal string) {
	have := l[user]
	if slices.Contains(have, s) {
		return "" // challenged again
	}
	for limit > 0 && len(have) >= limit {
		if d != policy.DuplicateReplace {
			return fmt.Sprintf("user %q is logged in as often as he may be: %d", user, limit)
		}
		have[0].replacedBy(s)
		have = have[1:]
	}
	l[user] = append(slices.Clone(have), s)
	return ""
}

// leave takes a session out. One that has been replaced is out already.
func (l logins) leave(user string, s *session) {
	left := slices.DeleteFunc(slices.Clone(l[user]), func(x *session) bool { return x == s })
	if len(left) == 0 {
		delete(l, user)
		return
	}
	l[user] = left
}

// replacedBy ends a session whose user has logged in again. It may be called from any shard.
func (s *session) replacedBy(next *session) {
	by := fmt.Sprintf("%d/%d", next.t.id, next.id)
	s.t.s.post(func() {
		if s.releasing || s.call == nil {
			return
		}
		s.log().Warn("the user has logged in again: the older session is closed", slog.String("event", "user-again"), slog.String("newer", by))
		s.drop("replaced", "the user has logged in again")
	})
}
