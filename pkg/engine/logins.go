package engine

import (
	"container/list"
	"fmt"
	"log/slog"
	"strings"

	"github.com/l2tpd/l2tpd/pkg/policy"
)

// logins are the sessions of each user who has logged in, the oldest first. Only shard 0 touches them, and session.counted.
type logins map[string]*list.List

// counted is where a session is among the logins of its user; the zero value says that it is not.
type counted struct {
	user string
	at   *list.Element
}

// enter counts a session that logs in as user, who may have limit at a time; 0: any number. The refusal says why it may not.
func (l logins) enter(user string, s *session, limit int, d policy.Duplicate) (refusal string) {
	if s.counted.at != nil {
		if s.counted.user == user {
			return "" // challenged again
		}
		l.leave(s.counted.user, s)
	}
	have := l[user]
	if have == nil {
		have = list.New()
		l[user] = have
	}
	for limit > 0 && have.Len() >= limit {
		if d != policy.DuplicateReplace {
			return fmt.Sprintf("user %q is logged in as often as he may be: %d", user, limit)
		}
		oldest := have.Front().Value.(*session)
		l.leave(user, oldest)
		l[user] = have // it may have been the last
		oldest.replacedBy(s)
	}
	s.counted = counted{user, have.PushBack(s)}
	return ""
}

// leave takes a session out. One that has been replaced, or has logged in as somebody else, is out already.
func (l logins) leave(user string, s *session) {
	if s.counted.at == nil || s.counted.user != user {
		return
	}
	have := l[user]
	have.Remove(s.counted.at)
	s.counted = counted{}
	if have.Len() == 0 {
		delete(l, user)
	}
}

// replacedBy ends a session whose user has logged in again. It may be called from any shard.
func (s *session) replacedBy(next *session) {
	by := strings.TrimPrefix(next.owner(), "session ")
	s.sh.post(func() {
		if s.releasing || s.call == nil {
			return
		}
		s.log().Warn("the user has logged in again: the older session is closed", slog.String("event", "user-again"), slog.String("newer", by))
		s.drop("replaced", "the user has logged in again")
	})
}
