// Command epollhttp is an HTTP server in Go without a goroutine for each connection: one thread waits for all by epoll. It answers
// each request, which has to come in one piece, with the same page.
package main

import (
	"bytes"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

var page = []byte("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n")

func main() {
	if err := serve(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(address string) error {
	l, err := net.Listen("tcp4", address)
	if err != nil {
		return err
	}
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	defer file.Close()
	listener := int(file.Fd())
	l.Close()
	if err := unix.SetNonblock(listener, true); err != nil {
		return err
	}
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	if err := watch(epoll, listener); err != nil {
		return err
	}
	events, request := make([]unix.EpollEvent, 256), make([]byte, 4096)
	for {
		n, err := unix.EpollWait(epoll, events, -1)
		if err != nil && err != unix.EINTR {
			return err
		}
		for _, e := range events[:max(n, 0)] {
			if int(e.Fd) == listener {
				accept(epoll, listener)
			} else {
				answer(int(e.Fd), request)
			}
		}
	}
}

func watch(epoll, fd int) error {
	return unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: int32(fd)})
}

func accept(epoll, listener int) {
	for {
		fd, _, err := unix.Accept4(listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != nil {
			return
		}
		if watch(epoll, fd) != nil {
			unix.Close(fd)
		}
	}
}

func answer(fd int, request []byte) {
	n, err := unix.Read(fd, request)
	if err == unix.EAGAIN || err == unix.EINTR {
		return
	}
	if n <= 0 {
		unix.Close(fd)
		return
	}
	if bytes.HasSuffix(request[:n], []byte("\r\n\r\n")) {
		_, _ = unix.Write(fd, page)
	}
}
