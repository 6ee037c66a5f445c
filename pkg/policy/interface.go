package policy

import (
	"cmp"
	"fmt"
	"hash/fnv"
)

// longestInterface is the kernel's IFNAMSIZ without the closing zero.
const longestInterface = 15

// InterfaceName is what a call's interface is called.
func (c *Call) InterfaceName() string { return cmp.Or(c.PPP.Interface, c.Name) }

// WaitingInterface is what the device is called that waits for the first packet to a call on demand (S157). Where the kernel allows
// no more, a hash stands for the end of the name: calls whose names begin alike have devices of their own.
func (c *Call) WaitingInterface() string {
	const mark = "w-"
	name := c.InterfaceName()
	if len(mark)+len(name) <= longestInterface {
		return mark + name
	}
	h := fnv.New32a()
	h.Write([]byte(name))
	return fmt.Sprintf("%s%.7s.%05x", mark, name, h.Sum32()>>12)
}
