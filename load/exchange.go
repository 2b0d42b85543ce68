package load

import (
	"fmt"
	"regexp"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Exchange is what the connecting end says on each connection, and what it waits for before the connection counts as up.
type Exchange struct {
	Send []byte // once it is open; may be empty
	// Bytes is how many have to come, Pattern a regular expression that what comes has to match. Without either the connection is up
	// once all is sent.
	Bytes   int
	Pattern string
	// Every is how often it is said again on a connection that is up, 0 for never.
	Every time.Duration
}

// MostAnswer is how many bytes of an answer are held against a pattern.
const MostAnswer = 64 << 10

// Compile makes sense of the pattern. "." matches line ends, which most protocols have.
func (x *Exchange) Compile() (*regexp.Regexp, error) {
	if x.Pattern == "" {
		return nil, nil
	}
	return regexp.Compile("(?s)" + x.Pattern)
}

// talk is one exchange under way.
type talk struct {
	left []byte // not written yet
	got  int    // bytes read
	text []byte // of them: as much as is held against a pattern, or kept of an answer that was not expected
}

// exchanges are those of a shard.
type exchanges struct {
	*Exchange
	pattern *regexp.Regexp
	shared  *shared
	under   map[int]*talk
	spare   []*talk
	buffer  []byte
	begun   time.Duration // of repeating
	next    int64         // the exchange that is due, counted from the beginning
}

func newExchanges(c *client) *exchanges {
	if c.config.Exchange == nil {
		return nil
	}
	return &exchanges{Exchange: c.config.Exchange, pattern: c.pattern, shared: c.shared, under: map[int]*talk{},
		buffer: make([]byte, 16<<10)}
}

func (x *exchanges) begin(fd int) *talk {
	t := &talk{}
	if n := len(x.spare); n > 0 {
		t, x.spare = x.spare[n-1], x.spare[:n-1]
	}
	t.left, t.got, t.text = x.Send, 0, t.text[:0]
	x.under[fd] = t
	return t
}

func (x *exchanges) end(fd int) {
	if t := x.under[fd]; t != nil {
		x.spare = append(x.spare, t)
		delete(x.under, fd)
	}
}

// outcome is how far an exchange is.
type outcome byte

const (
	underWay outcome = iota
	complete         // all was said, and what was expected has come
	broken           // it cannot be completed
)

// advance says and hears what can be without waiting. Where it is broken, e is why; closed tells that nothing more will come.
func (x *exchanges) advance(fd int, t *talk) (o outcome, at step, e syscall.Errno, closed bool) {
	for len(t.left) > 0 {
		n, err := unix.Write(fd, t.left)
		if err == unix.EINTR {
			continue
		}
		if err == unix.EAGAIN {
			break
		}
		if err != nil {
			return broken, stepSend, errno(err), true
		}
		t.left = t.left[n:]
	}
	closed, e = x.hear(fd, t)
	switch {
	case len(t.left) == 0 && x.satisfied(t):
		return complete, 0, 0, closed
	case e != 0:
		return broken, stepAnswer, e, true
	case closed:
		return broken, stepAnswer, x.unexpected(t, unix.ENODATA), true
	case x.pattern != nil && len(t.text) >= MostAnswer:
		return broken, stepAnswer, x.unexpected(t, unix.EMSGSIZE), false
	}
	return underWay, 0, 0, false
}

// hear reads all that has come. A nil talk takes no note of it.
func (x *exchanges) hear(fd int, t *talk) (closed bool, e syscall.Errno) {
	for {
		n, err := unix.Read(fd, x.buffer)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return false, 0
		case err != nil:
			return true, errno(err)
		case n == 0:
			return true, 0
		case t != nil:
			t.got += n
			most := keptAnswer
			if x.pattern != nil {
				most = MostAnswer
			}
			t.text = append(t.text, x.buffer[:min(n, most-len(t.text))]...)
		}
	}
}

func (x *exchanges) satisfied(t *talk) bool {
	if x.pattern != nil {
		return x.pattern.Match(t.text)
	}
	return t.got >= x.Bytes
}

// unexpected is why an exchange is broken where nothing or something else has come. It keeps the first of such answers.
func (x *exchanges) unexpected(t *talk, nothing syscall.Errno) syscall.Errno {
	if t.got == 0 || nothing == unix.EMSGSIZE {
		return nothing
	}
	x.shared.keepAnswer(t.text)
	if nothing == unix.ETIMEDOUT {
		return unix.ETIME
	}
	return unix.EBADMSG
}

// why is what is said of an answer's errno. The kernel gives none of these to a read.
var why = map[syscall.Errno]string{
	unix.ENODATA:   "the server closed the connection without it",
	unix.EBADMSG:   "something else came, and the server closed the connection",
	unix.EMSGSIZE:  fmt.Sprintf("%d bytes came and do not match", MostAnswer),
	unix.ETIMEDOUT: "nothing came in time",
	unix.ETIME:     "something else came, and nothing more in time",
}

// Why is the failure's reason in words.
func (f Failure) Why() string {
	text, known := why[f.Errno]
	switch {
	case f.Errno == 0:
		return "the other end closed it at once"
	case known && f.Step == stepNames[stepAnswer]:
		return text
	}
	return f.Errno.Error()
}

// keptAnswer is how much is kept of an answer that was not expected.
const keptAnswer = 120

// keepAnswer keeps the first answer that was not the expected one.
func (s *shared) keepAnswer(text []byte) {
	if s.otherClaim.Add(1) != 1 {
		return
	}
	s.otherLength.Store(int64(copy(s.other[:], text)))
}

// OtherAnswer is how the first answer began that was not the expected one; empty where there was none.
func (e *Engine) OtherAnswer() string {
	if e.shared == nil {
		return ""
	}
	return string(e.shared.other[:e.shared.otherLength.Load()])
}

// Repeats are the exchanges on connections that were up: how often something was said again, and how often the answer came before
// it was the connection's turn again, or had not.
type Repeats struct{ Asked, Answered, Unanswered int64 }

// Repeats counts them so far.
func (e *Engine) Repeats() Repeats {
	if e.shared == nil {
		return Repeats{}
	}
	return Repeats{e.shared.asked.Load(), e.shared.answered.Load(), e.shared.unanswered.Load()}
}

// converse takes part in the exchange of a connection that is not up yet. It gives 1 when it comes up.
func (cs *clientShard) converse(fd int, events uint32) (up int) {
	x, s := cs.exchanges, cs.client.shared
	t := x.under[fd]
	if t == nil {
		if events&(unix.EPOLLERR|unix.EPOLLHUP) != 0 {
			cs.waiting--
			s.fail(stepConnect, socketError(fd))
			_ = unix.Close(fd)
			return 0
		}
		s.connected.Add(1)
		t = x.begin(fd)
	}
	switch o, at, e, closed := x.advance(fd, t); {
	case o == complete:
		x.end(fd)
		up = cs.isUp(int32(fd))
		if closed {
			cs.lose(fd)
		}
	case o == broken:
		cs.giveUp(fd, at, e)
	}
	return up
}

// giveUp counts a connection as failed whose handshake is done.
func (cs *clientShard) giveUp(fd int, at step, e syscall.Errno) {
	cs.waiting--
	cs.exchanges.end(fd)
	cs.client.shared.fail(at, e)
	_ = unix.Close(fd)
}

// giveUpRest counts those as failed whose exchange gets no further, and closes them.
func (cs *clientShard) giveUpRest() {
	for fd, t := range cs.exchanges.under {
		at := stepAnswer
		if len(t.left) > 0 {
			at = stepSend
		}
		cs.giveUp(fd, at, cs.exchanges.unexpected(t, unix.ETIMEDOUT))
	}
}

// lose counts a connection as gone that was up.
func (cs *clientShard) lose(fd int) {
	cs.client.shared.clientsLost.Add(1)
	cs.up[fd] = false
	_ = unix.Close(fd)
}

// listen hears what comes on a connection that is up.
func (cs *clientShard) listen(fd int, events uint32) {
	x, t := cs.exchanges, cs.exchanges.under[fd]
	if t == nil {
		if ended, _ := x.hear(fd, nil); ended || closed(events) {
			cs.lose(fd)
		}
		return
	}
	switch o, _, _, ended := x.advance(fd, t); {
	case ended:
		x.end(fd)
		cs.lose(fd)
	case o == complete:
		x.end(fd)
		cs.client.shared.answered.Add(1)
	case o == broken:
		x.end(fd)
		cs.client.shared.unanswered.Add(1)
	}
}

// repeat says it again on each connection whose turn it is, and tells for how many milliseconds there is nothing to do; -1: for
// ever.
func (cs *clientShard) repeat() int {
	x, n := cs.exchanges, int64(len(cs.held))
	if x == nil || x.Every == 0 || n == 0 || cs.client.shared.closing.Load() != 0 {
		return -1
	}
	if x.begun == 0 {
		x.begun = Monotonic()
	}
	for {
		if left := x.begun + time.Duration(float64(x.Every)/float64(n)*float64(x.next)) - Monotonic(); left > 0 {
			return int((left + time.Millisecond - 1) / time.Millisecond)
		}
		fd := int(cs.held[x.next%n])
		x.next++
		if !cs.up[fd] {
			continue
		}
		if x.under[fd] != nil {
			cs.client.shared.unanswered.Add(1)
			x.end(fd)
		}
		cs.client.shared.asked.Add(1)
		x.begin(fd)
		cs.listen(fd, 0)
	}
}
