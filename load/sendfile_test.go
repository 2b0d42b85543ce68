package load

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestAFileIsSentWhole(t *testing.T) {
	const payload = 100_001 // no multiple of what is written at a time
	s, ok := FindScenario("sendfile")
	if !ok {
		t.Fatal("there is no scenario sendfile")
	}
	file, err := s.payloadFile(payload)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(file)
	var st unix.Stat_t
	if err := unix.Fstat(file, &st); err != nil || st.Size != payload || st.Blocks*512 < payload {
		t.Errorf("a file of %d bytes in %d blocks, %v", st.Size, st.Blocks, err)
	}
	sender, receiver := pair(t)
	a := &actor{shared: &shared{}, payload: make([]byte, payload), file: file}
	open := []delivery{{fd: int32(sender), file: file, left: payload}}
	got, b := 0, make([]byte, payload)
	for got < payload {
		open, _ = a.advance(open)
		n, err := unix.Read(receiver, b) // it blocks until some has come
		if err != nil || n == 0 {
			t.Fatalf("read: %d, %v", n, err)
		}
		got += n
	}
	for len(open) > 0 {
		open, _ = a.advance(open)
		gather()
	}
	if got != payload || a.shared.acted.Load() != 1 || a.shared.refused.Load() != 0 {
		t.Errorf("%d of %d bytes came, %d delivered, %d refused", got, payload, a.shared.acted.Load(), a.shared.refused.Load())
	}
}

func TestAFileThatEndsTooSoonIsRefused(t *testing.T) {
	s, _ := FindScenario("sendfile")
	file, err := s.payloadFile(10)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(file)
	sender, _ := pair(t)
	d := delivery{fd: int32(sender), file: file, left: 20}
	if e := d.write(make([]byte, 20)); e != unix.EIO || d.left != 10 {
		t.Errorf("%v with %d bytes left, want %v with 10", e, d.left, unix.EIO)
	}
}

func TestOtherScenariosHaveNoFile(t *testing.T) {
	s, _ := FindScenario("unread")
	if file, err := s.payloadFile(10); file != -1 || err != nil {
		t.Errorf("file %d, %v", file, err)
	}
}
