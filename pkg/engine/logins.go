package engine

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/l2tpd/l2tpd/pkg/policy"
)

// logins are the sessions of each user who has logged in, the oldest first. Only shard 0 touches them, and session.counted.
type logins map[string]userLogins

// userLogins is a user's sessions, by their counted.
type userLogins struct {
	oldest, newest *session
	sessions       int
}

// counted is where a session is among the logins of its user.
type counted struct {
	user         string
	older, newer *session
}

// has says that a session is counted.
func (l logins) has(s *session) bool { return s.counted.older != nil || l[s.counted.user].oldest == s }

// enter counts a session that logs in as user, who may have limit at a time; 0: any number. The refusal says why it may not.
func (l logins) enter(user string, s *session, limit int, d policy.Duplicate) (refusal string) {
	if l.has(s) {
		if s.counted.user == user {
			return "" // challenged again
		}
		l.leave(s.counted.user, s)
	}
	for limit > 0 && l[user].sessions >= limit {
		if d != policy.DuplicateReplace {
			return fmt.Sprintf("user %q is logged in as often as he may be: %d", user, limit)
		}
		oldest := l[user].oldest
		l.leave(user, oldest)
		oldest.replacedBy(s)
	}
	have := l[user]
	s.counted = counted{user: user, older: have.newest}
	if have.newest != nil {
		have.newest.counted.newer = s
	} else {
		have.oldest = s
	}
	have.newest = s
	have.sessions++
	l[user] = have
	return ""
}

// leave takes a session out. One that has been replaced, or has logged in as somebody else, is out already.
func (l logins) leave(user string, s *session) {
	c := s.counted
	if c.user != user || !l.has(s) {
		return
	}
	s.counted = counted{}
	have := l[user]
	have.sessions--
	if c.older != nil {
		c.older.counted.newer = c.newer
	} else {
		have.oldest = c.newer
	}
	if c.newer != nil {
		c.newer.counted.older = c.older
	} else {
		have.newest = c.older
	}
	if l[user] = have; have.sessions == 0 {
		delete(l, user)
	}
}

// replacedBy ends a session whose user has logged in again. It may be called from any shard.
func (s *session) replacedBy(next *session) {
	by := strings.TrimPrefix(next.owner().String(), "session ")
	s.sh.post(func() {
		if s.releasing || s.call == nil {
			return
		}
		s.log().Warn("the user has logged in again: the older session is closed", slog.String("event", "user-again"), slog.String("newer", by))
		s.drop("replaced", "the user has logged in again")
	})
}
