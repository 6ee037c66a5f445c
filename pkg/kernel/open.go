package kernel

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// defaultWorkers bounds concurrent sleeping calls: each holds an OS thread for some 15-60 ms.
const defaultWorkers = 64

// defaultUnits bounds the interfaces that wait: some 25 KiB of the kernel's memory each, which sessions have needed before.
const defaultUnits = 8192

// Config is what a Kernel needs.
type Config struct {
	Logger  *slog.Logger // nil: silent
	Workers int          // bound on concurrent sleeping calls (Attach, Close); 0: 64

	// Units bounds the PPP interfaces that wait for a session, 0: 8192, negative: none wait. The session that takes one saves the
	// time in which the machine can make no other interface. Those that wait are down and without addresses, in a group of their
	// own ("ip link show group 1701"), and keep their pppN or the name made with "%d"; an Attach that wants such a name as it
	// is takes it away from them. An interface that carried MPPE, or that somebody changed, is closed with its session.
	Units int
}

// Kernel is the L2TP and PPP side of one network namespace: that of the thread that called Open. Safe for concurrent use.
type Kernel struct {
	log      *slog.Logger
	l2tp     *l2tpClient
	links    *linkClient
	loop     *loop
	features Features
	units    *pool
	sleeping chan struct{} // one slot for each call that may sleep now
	buffers  sync.Pool     // of *[maxFrame]byte

	done    chan struct{} // closed: no more interfaces are made ahead
	stocked chan struct{} // closed when none is any more
	closing sync.Once
	closed  error
}

// Open checks that the machine can carry L2TP sessions, loading modules where that is allowed, and starts to serve.
// What is missing is an *UnavailableError.
func Open(cfg Config) (*Kernel, error) {
	k := &Kernel{
		log: cfg.Logger, buffers: sync.Pool{New: func() any { return new([maxFrame]byte) }},
		done: make(chan struct{}), stocked: make(chan struct{}),
	}
	if k.log == nil {
		k.log = slog.New(slog.DiscardHandler)
	}
	workers := cfg.Workers
	if workers <= 0 {
		workers = defaultWorkers
	}
	k.sleeping = make(chan struct{}, workers)
	k.units = newPool(cfg.Units)
	if cfg.Units == 0 {
		k.units = newPool(defaultUnits)
	}
	if err := checkCapability(); err != nil {
		return nil, err
	}
	var err error
	if k.l2tp, err = openL2TP(k.log); err != nil {
		return nil, err
	}
	if err = errors.Join(checkPPPoX(), checkPPP()); err != nil {
		return nil, errors.Join(err, k.l2tp.close())
	}
	if k.links, err = openLinks(); err != nil {
		return nil, errors.Join(err, k.l2tp.close())
	}
	if k.loop, err = openLoop(k.log); err != nil {
		return nil, errors.Join(err, k.links.close(), k.l2tp.close())
	}
	k.features = probeFeatures()
	go k.stock()
	return k, nil
}

// Close closes the sessions that are left and the interfaces that wait, in parallel, and stops serving. Kernel tunnels stay: they
// belong to their sockets. It must not run concurrently with other calls than Close and those of sessions.
func (k *Kernel) Close() error {
	k.closing.Do(func() {
		close(k.done)
		<-k.stocked
		var (
			all  sync.WaitGroup
			mu   sync.Mutex
			errs []error
		)
		end := func(f func() error) {
			all.Go(func() {
				err := f()
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			})
		}
		for _, u := range k.units.close() {
			end(func() error {
				defer k.sleep()()
				return k.discard(u)
			})
		}
		for _, s := range k.loop.shut() {
			end(s.Close)
		}
		all.Wait()
		k.closed = errors.Join(append(errs, k.loop.close(), k.links.close(), k.l2tp.close())...)
	})
	return k.closed
}

// Features tells what Open found.
func (k *Kernel) Features() Features { return k.features }

// CreateTunnel makes a kernel tunnel on a connected UDP socket of this process and namespace. One socket serves one tunnel,
// once: EBUSY later. A taken id is os.ErrExist, which lasts for a while after its former socket was closed.
func (k *Kernel) CreateTunnel(s TunnelSpec) error {
	err := s.Validate()
	if err == nil {
		err = k.l2tp.createTunnel(s)
	}
	if err != nil {
		return fmt.Errorf("create tunnel %d: %w", s.ID, err)
	}
	return nil
}

// TunnelInfo asks for one tunnel; os.ErrNotExist when there is none.
func (k *Kernel) TunnelInfo(id uint16) (TunnelInfo, error) {
	info, err := k.l2tp.tunnel(id)
	if err != nil {
		return TunnelInfo{}, fmt.Errorf("get tunnel %d: %w", id, err)
	}
	return info, nil
}

// SessionInfo asks for one session; os.ErrNotExist when there is none.
func (k *Kernel) SessionInfo(tunnel, session uint16) (SessionInfo, error) {
	info, err := k.l2tp.session(tunnel, session)
	if err != nil {
		return SessionInfo{}, fmt.Errorf("get session %d/%d: %w", tunnel, session, err)
	}
	return info, nil
}

// sleep takes a slot for a call that sleeps and gives what returns it.
func (k *Kernel) sleep() (wake func()) {
	k.sleeping <- struct{}{}
	return func() { <-k.sleeping }
}

// checkCapability looks for CAP_NET_ADMIN before anything is tried: the errors that its absence causes name other things.
func checkCapability() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	if data[0].Effective&(1<<unix.CAP_NET_ADMIN) != 0 {
		return nil
	}
	return &UnavailableError{
		What:   "no CAP_NET_ADMIN",
		Advice: "run as root or from the systemd unit, or grant it with AmbientCapabilities=CAP_NET_ADMIN",
		Err:    unix.EPERM,
	}
}

// checkPPPoX looks for the PPP over L2TP socket family; asking for it loads its module.
func checkPPPoX() error {
	fd, err := unix.Socket(unix.AF_PPPOX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, protoOL2TP)
	if err == nil {
		return unix.Close(fd)
	}
	if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EPROTONOSUPPORT) {
		return &UnavailableError{
			What: "l2tp_ppp is not available",
			Advice: "modprobe l2tp_ppp; if there is no such module install linux-modules-extra (Ubuntu) or " +
				"kernel-modules-extra (Fedora, RHEL); in systemd, RestrictAddressFamilies= needs AF_PPPOX",
			Err: err,
		}
	}
	return fmt.Errorf("open pppox: %w", err)
}

// checkPPP opens the PPP device once.
func checkPPP() error {
	fd, err := unix.Open(devPPP, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	switch {
	case err == nil:
		return unix.Close(fd)
	case errors.Is(err, unix.ENOENT):
		return &UnavailableError{devPPP + " does not exist", "modprobe ppp_generic, or: mknod /dev/ppp c 108 0", err}
	case errors.Is(err, unix.ENXIO), errors.Is(err, unix.ENODEV):
		return &UnavailableError{devPPP + " has no driver", "modprobe ppp_generic; if there is no such module install " +
			"linux-modules-extra (Ubuntu) or kernel-modules-extra (Fedora, RHEL)", err}
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return &UnavailableError{
			"no access to " + devPPP, "run as root; in systemd: DeviceAllow=/dev/ppp rw; in a container: --device /dev/ppp", err,
		}
	}
	return fmt.Errorf("open %s: %w", devPPP, err)
}

// probeFeatures reads the kernel's version.
func probeFeatures() Features {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return featuresOf("", "", "")
	}
	signature, err := os.ReadFile("/proc/version_signature")
	if err != nil {
		signature = nil // Ubuntu's alone
	}
	return featuresOf(unix.ByteSliceToString(u.Release[:]), unix.ByteSliceToString(u.Version[:]),
		strings.TrimSpace(string(signature)))
}
