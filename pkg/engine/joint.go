package engine

import "errors"

// errJointGone is why a subscriber's channel cannot be joined with an LNS's any more.
var errJointGone = errors.New("the subscriber has gone")

// joint is a subscriber's channel while an LNS's session may be joined with it: that session's operations use it, and the subscriber's own
// end it, both in the executor and in no order.
type joint struct {
	free chan struct{} // holds the right to use data
	data Session       // nil: it is closed
	far  Session       // that it has been joined with last; nil: none
}

func newJoint(data Session) *joint {
	x := &joint{free: make(chan struct{}, 1), data: data}
	x.free <- struct{}{}
	return x
}

// use does something with the channel. It may sleep.
func (x *joint) use(f func(data Session) error) error {
	<-x.free
	defer func() { x.free <- struct{}{} }()
	if x.data == nil {
		return errJointGone
	}
	return f(x.data)
}

// join joins the channel with an LNS's session. One of an attempt before, which has ended, may be on it still: it is closed first. It may sleep.
func (x *joint) join(far Session) error {
	return x.use(func(data Session) error {
		if x.far != nil {
			_ = x.far.Close() // what is wrong with it hinders nobody
		}
		x.far = far
		return data.Bridge(far)
	})
}

// end waits for who uses the channel, and lets nobody use it any more. It may sleep. x may be nil.
func (x *joint) end() {
	if x == nil {
		return
	}
	<-x.free
	x.data = nil
	x.free <- struct{}{}
}
