package kernel

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Compression is what MPPE needs (RFC 3078): to PPP, encryption is a kind of compression.
type Compression struct {
	// Send and Receive are the start keys of RFC 3079, of 16 octets; of keys of 40 bits the first 8 count.
	Send, Receive []byte
	// Options are the supported bits of the CCP option, as in the Configure-Requests: stateless is 0x01 of the first octet, 128 bits
	// are 0x40 and 40 bits 0x20 of the last. What the Configure-Acks say decides; the kernel has no 56 bits and no compression.
	Options [4]byte
	// MRU is the most that the peer may send in one frame, in octets; 0: 1500.
	MRU int
}

// The CCP option of MPPE, and what of it the kernel can do.
const (
	optionMPPE    = 18
	optionMPPELen = 6
	mppeKeyLen    = 16
	mppe40        = 0x20
	mppe128       = 0x40
	mppeStateless = 0x01 // in the first octet
)

// Flags of a unit (include/uapi/linux/ppp-ioctl.h). The driver says with the bit of MUST_COMP, too, that a frame could not be
// decompressed.
const (
	flagCCPOpen     = 0x40
	flagCCPUp       = 0x80
	flagCompRun     = 0x1000
	flagDecompRun   = 0x2000
	flagMustComp    = 0x400000
	flagDecompFatal = 0x800000
)

var (
	errKeys    = fmt.Errorf("the keys must have %d octets", mppeKeyLen)
	errOptions = errors.New("the options must be those of MPPE with 128 or 40 bits")
	errNotRun  = errors.New("the Configure-Acks of CCP have not gone both ways since compression was armed")
)

// Validate reports keys and options that the kernel cannot work with.
func (c Compression) Validate() error {
	if len(c.Send) != mppeKeyLen || len(c.Receive) != mppeKeyLen {
		return errKeys
	}
	o := c.Options
	if o[0]&^mppeStateless != 0 || o[1] != 0 || o[2] != 0 || o[3] == 0 || o[3]&^(mppe40|mppe128) != 0 {
		return errOptions
	}
	if c.MRU < 0 || c.MRU > 65535 {
		return fmt.Errorf("mru %d is not in 0..65535", c.MRU)
	}
	return nil
}

// ArmCompression gives the interface the keys of both directions, which it needs before the first Configure-Request of CCP leaves. The
// kernel watches CCP from then on, and begins to encrypt or decrypt with the Configure-Ack that leaves or comes: all frames of CCP
// must go through Send, and do since Attach. Armed again, with the keys of another negotiation, it begins anew.
//
// What it takes may be missing: an *UnavailableError. It needs Attach.
func (s *Session) ArmCompression(c Compression) error {
	err := c.Validate()
	if err == nil {
		err = s.withUnit(func(fd int) error {
			s.compressed = true
			return armCompression(fd, c)
		})
	}
	if err != nil {
		return fmt.Errorf("arm compression of %s: %w", s.name(), err)
	}
	return nil
}

// OpenCompression says that CCP is open: it comes after the Configure-Acks of both directions and before Pass, and is an error
// when the kernel has not seen both. With require no network packet leaves in clear while CCP is open.
//
// A Configure-Request or Terminate-Request of CCP ends encryption at once, in the kernel and even with require: whoever requires it
// stops the network protocols by Pass when one comes. The kernel also takes what comes in clear.
func (s *Session) OpenCompression(require bool) error {
	err := s.withUnit(func(fd int) error { return openCompression(fd, require) })
	if err != nil {
		return fmt.Errorf("open compression of %s: %w", s.name(), err)
	}
	return nil
}

// CloseCompression ends what ArmCompression began: the keys are gone, and packets pass in clear. Where encryption is required it comes
// after Pass has stopped them.
func (s *Session) CloseCompression() error {
	err := s.withUnit(func(fd int) error { return setFlags(fd, flagCCPOpen|flagCCPUp|flagMustComp, 0) })
	if err != nil {
		return fmt.Errorf("close compression of %s: %w", s.name(), err)
	}
	return nil
}

// CompressionBroken reports whether the kernel has given up decrypting, after many frames that made no sense. A new session helps
// then: where encryption is required, nothing reaches the Receiver any more but LCP and authentication.
//
// Before that a frame that could not be decrypted comes to the Receiver, with protocol 0x00fd, and nothing more is decrypted until a
// Reset-Ack of CCP comes, for which a Reset-Request asks. After such a frame it is time to call this, now and then: where encryption is
// required, the one upon which the kernel gives up does not come to the Receiver. It needs Attach.
func (s *Session) CompressionBroken() (bool, error) {
	var flags int32
	err := s.withUnit(func(fd int) (err error) {
		flags, err = flagsOf(fd)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("compression of %s: %w", s.name(), err)
	}
	return flags&flagDecompFatal != 0, nil
}

func armCompression(fd int, c Compression) error {
	if c.MRU > defaultMTU { // it sizes the driver's buffers
		mru := int32(c.MRU)
		if err := ioctl(fd, unix.PPPIOCSMRU, unsafe.Pointer(&mru)); err != nil {
			return fmt.Errorf("set mru: %w", err)
		}
	}
	for _, direction := range []struct {
		key      []byte
		transmit int32
	}{{c.Receive, 0}, {c.Send, 1}} {
		if err := setCompressor(fd, c.Options, direction.key, direction.transmit); err != nil {
			return err
		}
	}
	return setFlags(fd, flagCCPUp|flagMustComp, flagCCPOpen)
}

// setCompressor gives a unit the state of one direction: the CCP option with the key behind it.
func setCompressor(fd int, options [4]byte, key []byte, transmit int32) error {
	option := append([]byte{optionMPPE, optionMPPELen}, options[:]...)
	option = append(option, key...)
	arg := struct {
		option   *byte
		length   uint32
		transmit int32
	}{&option[0], uint32(len(option)), transmit}
	switch err := ioctl(fd, unix.PPPIOCSCOMPRESS, unsafe.Pointer(&arg)); {
	case errors.Is(err, unix.EINVAL):
		return &UnavailableError{
			What: "ppp_mppe is not available",
			Advice: "modprobe ppp_mppe; if there is no such module install linux-modules-extra (Ubuntu) or " +
				"kernel-modules-extra (Fedora, RHEL)",
			Err: err,
		}
	case errors.Is(err, unix.ENOBUFS):
		return &UnavailableError{
			What: "ppp_mppe refuses to work", Advice: "a kernel in FIPS mode (fips=1) has no MPPE, whose cipher is RC4", Err: err,
		}
	case err != nil:
		return fmt.Errorf("set compressor: %w", err)
	}
	return nil
}

func openCompression(fd int, require bool) error {
	flags, err := flagsOf(fd)
	if err != nil {
		return err
	}
	if flags&flagCompRun == 0 || flags&flagDecompRun == 0 {
		return errNotRun
	}
	set := int32(flagCCPOpen | flagCCPUp)
	if require {
		set |= flagMustComp
	}
	return setFlags(fd, flagMustComp, set)
}

// flagsOf reads the flags of a unit.
func flagsOf(fd int) (int32, error) {
	var flags int32
	if err := ioctl(fd, unix.PPPIOCGFLAGS, unsafe.Pointer(&flags)); err != nil {
		return 0, fmt.Errorf("get flags: %w", err)
	}
	return flags, nil
}

// setFlags changes flags of a unit. To clear flagCCPOpen would throw the keys away.
func setFlags(fd int, clear, set int32) error {
	flags, err := flagsOf(fd)
	if err != nil {
		return err
	}
	flags = flags&^clear | set
	if err := ioctl(fd, unix.PPPIOCSFLAGS, unsafe.Pointer(&flags)); err != nil {
		return fmt.Errorf("set flags: %w", err)
	}
	return nil
}
