package peer

import (
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Link is a connection between two ends that have proved themselves to each other. What comes in is read by a goroutine
// of its own, so that the silence of a peer is noticed whatever else goes on.
type Link struct {
	conn     *tls.Conn
	sending  sync.Mutex
	messages chan Message
	once     sync.Once
	done     chan struct{}
	err      error // valid once done is closed
	received chan struct{}
	progress atomic.Pointer[func(*Progress)]
	begun    time.Time
	heard    atomic.Int64 // when something came in last, in nanoseconds since begun
}

// aheadMessages bounds how many messages wait to be taken. A peer that sends faster has to wait.
const aheadMessages = 64

func newLink(c *tls.Conn) *Link {
	return &Link{conn: c, messages: make(chan Message, aheadMessages), done: make(chan struct{}), received: make(chan struct{}),
		begun: time.Now()}
}

func (l *Link) begin() {
	go l.receive()
	go l.stayAlive()
}

// Remote is the other end's address, Local this end's.
func (l *Link) Remote() net.Addr { return l.conn.RemoteAddr() }

// Local is this end's address.
func (l *Link) Local() net.Addr { return l.conn.LocalAddr() }

// OnProgress has f called with each Progress that comes in, by the goroutine that reads; until then they are dropped.
func (l *Link) OnProgress(f func(*Progress)) { l.progress.Store(&f) }

// Silence is how long nothing has come in. An end that is there says so every aliveEvery.
func (l *Link) Silence() time.Duration { return time.Since(l.begun) - time.Duration(l.heard.Load()) }

// Messages gives out what the other end says, in order, but for Progress and Alive.
func (l *Link) Messages() <-chan Message { return l.messages }

// Done is closed when the link is; Err then says why.
func (l *Link) Done() <-chan struct{} { return l.done }

// Err is why the link is closed, nil while it is not and where Close was called: a *RefusedError or a *LostError.
func (l *Link) Err() error {
	select {
	case <-l.done:
		return l.err
	default:
		return nil
	}
}

// lingerTime is how long Close waits for the other end to hang up.
const lingerTime = time.Second

// Close ends the link, once the other end has read what was sent to it: one that is still talking would be answered with a
// reset, and not see the last words. Once Close returns, OnProgress's function is not called any more.
func (l *Link) Close() {
	l.once.Do(func() {
		close(l.done)
		go l.partWith()
	})
	select {
	case <-l.received:
	case <-time.After(lingerTime):
		l.cut()
		<-l.received
	}
}

// partWith says that nothing more will be said (close_notify), which waits for a Send that is going on: the end of Close's
// patience ends both.
func (l *Link) partWith() {
	if l.conn.CloseWrite() != nil {
		l.cut()
	}
}

// cut closes the connection below TLS, which does not wait for anybody: tls.Conn's own Close would first say good-bye.
func (l *Link) cut() { _ = l.conn.NetConn().Close() }

// fail ends the link at once.
func (l *Link) fail(err error) {
	l.once.Do(func() {
		l.err = err
		close(l.done)
		l.cut()
	})
}

// Send says something. An error ends the link. It is a *RefusedError if the other end has refused and hung up, otherwise a
// *LostError.
func (l *Link) Send(m Message) error {
	l.sending.Lock()
	defer l.sending.Unlock()
	_ = l.conn.SetWriteDeadline(time.Now().Add(writeTime))
	if err := writeFrame(l.conn, m); err != nil {
		l.fail(&LostError{plain(err, writeTime)})
		return l.lost()
	}
	return nil
}

// lost is why nothing more can be said.
func (l *Link) lost() error {
	if err := l.Err(); err != nil {
		return err
	}
	return &LostError{errors.New("the connection was closed")}
}

func (l *Link) receive() {
	defer close(l.received)
	defer l.cut()
	l.take()
	_, _ = io.Copy(io.Discard, l.conn) // nothing, unless Close was called
}

// take gives out what comes in, until the link ends.
func (l *Link) take() {
	var refusal *RefusedError
	for {
		_ = l.conn.SetReadDeadline(time.Now().Add(silence))
		m, err := readFrame(l.conn)
		if err != nil {
			if refusal != nil {
				l.fail(refusal)
			} else {
				l.fail(&LostError{plain(err, silence)})
			}
			return
		}
		l.heard.Store(int64(time.Since(l.begun)))
		switch m := m.(type) {
		case *Refusal:
			refusal = &RefusedError{m.Reason}
		case *Alive:
			continue
		case *Progress:
			if f := l.progress.Load(); f != nil {
				(*f)(m)
			}
			continue
		}
		select {
		case l.messages <- m:
		case <-l.done:
			return
		case <-time.After(patience):
			l.fail(&LostError{errors.New("it says more than anybody asked for")})
			return
		}
	}
}

// patience is how long what came in may wait to be taken.
const patience = 2 * time.Minute

func (l *Link) stayAlive() {
	for {
		select {
		case <-l.done:
			return
		case <-time.After(aliveEvery):
			_ = l.Send(&Alive{}) // its failure ends the link
		}
	}
}

// Await takes the next message that is of the wanted type, and hands those before it to other. A Refusal is an error, and
// so is more time than given.
func Await[M Message](l *Link, timeout time.Duration, other func(Message) error) (m M, err error) {
	limit := time.After(timeout)
	for {
		select {
		case next := <-l.messages:
			if wanted, ok := next.(M); ok {
				return wanted, nil
			}
			if refusal, ok := next.(*Refusal); ok {
				return m, &RefusedError{refusal.Reason}
			}
			if err := other(next); err != nil {
				return m, err
			}
		case <-l.done:
			if len(l.messages) > 0 {
				continue // it was said before the end
			}
			return m, l.lost()
		case <-limit:
			return m, fmt.Errorf("the other end did not answer within %v", timeout)
		}
	}
}

// Unexpected is for Await where nothing else may come.
func Unexpected(m Message) error { return fmt.Errorf("the other end says %T out of turn", m) }

// The most that a recording may take, packed and unpacked.
const (
	maxRecording = 16 << 20
	maxUnpacked  = 128 << 20
)

// SendRecording packs and sends what is at the end of a session, piece by piece so that nothing else has to wait.
func (l *Link) SendRecording(recording []byte) error {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(recording); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	size := packed.Len()
	if size > maxRecording {
		return l.Send(&Measured{Problem: fmt.Sprintf("its recording has %d bytes, and %d are the most", size, maxRecording)})
	}
	for packed.Len() > 0 {
		if err := l.Send(&Chunk{Data: packed.Next(chunkBytes)}); err != nil {
			return err
		}
	}
	return l.Send(&Measured{Bytes: size})
}

// ReceiveRecording puts together what SendRecording sent, or fails with what the other end said of its failure.
func (l *Link) ReceiveRecording(timeout time.Duration, other func(Message) error) ([]byte, error) {
	var packed []byte
	end, err := Await[*Measured](l, timeout, func(m Message) error {
		c, ok := m.(*Chunk)
		if !ok {
			return other(m)
		}
		if packed = append(packed, c.Data...); len(packed) > maxRecording {
			return fmt.Errorf("its recording has more than %d bytes", maxRecording)
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case end.Problem != "":
		return nil, &RefusedError{end.Problem}
	case end.Bytes != len(packed):
		return nil, fmt.Errorf("%d bytes of its recording came, of %d", len(packed), end.Bytes)
	}
	return unpack(packed, maxUnpacked)
}

func unpack(packed []byte, most int64) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("unpack its recording: %w", err)
	}
	b, err := io.ReadAll(io.LimitReader(z, most+1))
	if err != nil {
		return nil, fmt.Errorf("unpack its recording: %w", err)
	}
	if int64(len(b)) > most {
		return nil, fmt.Errorf("its recording has more than %d bytes unpacked", most)
	}
	return b, nil
}
