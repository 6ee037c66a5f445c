package radius

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// The spool is a log: a header, and frames of length, checksum and body, all big endian. A body is a record to keep or the number of
// one that is done with. The last frame may be torn, after a crash. When most of the file is about what is done, it is written anew
// beside and put in its place.
const (
	spoolName   = "accounting.log"
	damagedName = "accounting.damaged"
	spoolHeader = "l2tpd accounting 1\n"
	frameSize   = 8
	putSize     = 1 + 8 + 1 + 8 + 1 // type, seq, kind, time, length of the session id
	doneSize    = 1 + 8
	typePut     = 1
	typeDone    = 2
	maxBody     = putSize + maxValue + 4096
	// smallFile is not worth writing anew.
	smallFile = 1 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// spool is the file. One goroutine uses it at a time.
type spool struct {
	dir  string
	lock *os.File
	file *os.File
	size int64
}

// openSpool locks the directory and reads what waits there, in order. torn is how many octets at the end could not be read. The file is
// not open for writing yet: rewrite makes it.
func openSpool(dir string) (s *spool, found []*entry, torn int64, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, 0, err
	}
	s = &spool{dir: dir}
	if s.lock, err = os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return nil, nil, 0, err
	}
	if err := unix.Flock(int(s.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = s.lock.Close()
		return nil, nil, 0, fmt.Errorf("another process uses it: %w", err)
	}
	f, err := os.Open(filepath.Join(dir, spoolName))
	if errors.Is(err, os.ErrNotExist) {
		return s, nil, 0, nil
	}
	if err != nil {
		return nil, nil, 0, errors.Join(err, s.close())
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, 0, errors.Join(err, s.close())
	}
	found, good := readSpool(f)
	return s, found, info.Size() - good, nil
}

// readSpool reads a log as far as it is good, and says how far that is.
func readSpool(r io.Reader) (found []*entry, good int64) {
	in := bufio.NewReader(r)
	header := make([]byte, len(spoolHeader))
	if _, err := io.ReadFull(in, header); err != nil || string(header) != spoolHeader {
		return nil, 0
	}
	good = int64(len(header))
	live := map[uint64]*entry{}
	var order []*entry
	var head [frameSize]byte
	for {
		if _, err := io.ReadFull(in, head[:]); err != nil {
			break
		}
		size := binary.BigEndian.Uint32(head[:])
		if size > maxBody {
			break
		}
		body := make([]byte, size)
		if _, err := io.ReadFull(in, body); err != nil || crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(head[4:]) {
			break
		}
		e, done, ok := parseBody(body)
		if !ok {
			break
		}
		good += frameSize + int64(size)
		if e == nil {
			delete(live, done)
		} else if live[e.seq] == nil {
			live[e.seq] = e
			order = append(order, e)
		}
	}
	for _, e := range order {
		if live[e.seq] == e {
			found = append(found, e)
		}
	}
	return found, good
}

// parseBody reads a record, or the number of one that is done with.
func parseBody(b []byte) (e *entry, done uint64, ok bool) {
	switch {
	case len(b) == doneSize && b[0] == typeDone:
		return nil, binary.BigEndian.Uint64(b[1:]), true
	case len(b) >= putSize && b[0] == typePut && len(b) >= putSize+int(b[putSize-1]):
		at := putSize + int(b[putSize-1])
		return &entry{
			seq: binary.BigEndian.Uint64(b[1:]), kind: Kind(b[9]), at: time.Unix(0, int64(binary.BigEndian.Uint64(b[10:]))),
			session: string(b[putSize:at]), attrs: b[at:],
		}, 0, true
	}
	return nil, 0, false
}

// appendFrame appends a body that add writes, behind its length and checksum.
func appendFrame(dst []byte, add func([]byte) []byte) []byte {
	at := len(dst)
	dst = add(append(dst, make([]byte, frameSize)...))
	body := dst[at+frameSize:]
	binary.BigEndian.PutUint32(dst[at:], uint32(len(body)))
	binary.BigEndian.PutUint32(dst[at+4:], crc32.Checksum(body, castagnoli))
	return dst
}

func appendPut(dst []byte, e *entry) []byte {
	return appendFrame(dst, func(b []byte) []byte {
		b = binary.BigEndian.AppendUint64(append(b, typePut), e.seq)
		b = binary.BigEndian.AppendUint64(append(b, byte(e.kind)), uint64(e.at.UnixNano()))
		return append(append(append(b, byte(len(e.session))), e.session...), e.attrs...)
	})
}

func appendDone(dst []byte, seq uint64) []byte {
	return appendFrame(dst, func(b []byte) []byte { return binary.BigEndian.AppendUint64(append(b, typeDone), seq) })
}

// write appends to the file; with sync, what was written survives a power cut. After an error the file must be rewritten.
func (s *spool) write(b []byte, sync bool) error {
	n, err := s.file.Write(b)
	s.size += int64(n)
	if err == nil && sync {
		err = unix.Fdatasync(int(s.file.Fd()))
	}
	return err
}

// rewrite makes the file anew out of these entries. After an error the old one is still there.
func (s *spool) rewrite(live []*entry) error {
	name := filepath.Join(s.dir, spoolName)
	f, err := os.OpenFile(name+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(f)
	size, _ := out.WriteString(spoolHeader)
	var frame []byte
	for _, e := range live {
		frame = appendPut(frame[:0], e)
		n, _ := out.Write(frame)
		size += n
	}
	err = errors.Join(out.Flush(), f.Sync())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	if s.file != nil {
		_ = s.file.Close()
	}
	s.file, s.size = f, int64(size)
	return s.syncDir()
}

// keepDamaged keeps the file under another name, in place of one that was kept before.
func (s *spool) keepDamaged() error {
	name := filepath.Join(s.dir, damagedName)
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.Link(filepath.Join(s.dir, spoolName), name)
}

// syncDir makes a new name last.
func (s *spool) syncDir() error {
	d, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// close closes the file and unlocks the directory. To close the lock would not do: a child that does not run its program yet has it, too.
func (s *spool) close() error {
	var err error
	if s.file != nil {
		err = s.file.Close()
	}
	return errors.Join(err, unix.Flock(int(s.lock.Fd()), unix.LOCK_UN), s.lock.Close())
}
