// Command shop is leak.c in Go: three goroutines open connections, of which one leaks.
//
//	shop PORT OPENS SECONDS
package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"time"
)

// poolSize is how many connections poolUsers keeps.
const poolSize = 20

type shop struct {
	address   string
	forgotten []net.Conn // or the runtime would close them
	pool      [poolSize]net.Conn
}

func (s *shop) dial() net.Conn {
	c, err := net.Dial("tcp", s.address)
	if err != nil {
		fail(err)
	}
	return c
}

//go:noinline
func (s *shop) leakOrders(i int) {
	c := s.dial()
	if i%10 == 0 {
		s.forgotten = append(s.forgotten, c)
		return
	}
	_ = c.Close()
}

//go:noinline
func (s *shop) poolUsers(i int) {
	c := s.dial()
	if old := s.pool[i%poolSize]; old != nil {
		_ = old.Close()
	}
	s.pool[i%poolSize] = c
}

//go:noinline
func pollPrices(s *shop, _ int) {
	_ = s.dial().Close()
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "shop:", err)
	os.Exit(1)
}

func main() {
	if len(os.Args) != 4 {
		fail(fmt.Errorf("usage: shop PORT OPENS SECONDS"))
	}
	opens, err := strconv.Atoi(os.Args[2])
	if err != nil {
		fail(err)
	}
	seconds, err := strconv.ParseFloat(os.Args[3], 64)
	if err != nil {
		fail(err)
	}
	s := &shop{address: "127.0.0.1:" + os.Args[1]}
	in := bufio.NewReader(os.Stdin)
	fmt.Println("ready")
	_, _ = in.ReadString('\n') // or its end
	open(opens, seconds, s.leakOrders, s.poolUsers, func(i int) { pollPrices(s, i) })
	fmt.Println("done")
	_, _ = io.Copy(io.Discard, in)
}

// open takes the paths in goroutines of their own, and returns when all are open.
func open(opens int, seconds float64, paths ...func(int)) {
	var all sync.WaitGroup
	begun := time.Now()
	for _, path := range paths {
		all.Go(func() {
			for i := range opens {
				time.Sleep(time.Until(begun.Add(time.Duration(seconds * float64(i) / float64(opens) * 1e9))))
				path(i)
			}
		})
	}
	all.Wait()
}
