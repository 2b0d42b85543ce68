/*
 * failures PORT CLOSED TIMES HELD
 *
 * Connections that do not come up, and sockets that are none, by a function each. Where HELD is 0, each happens TIMES times:
 * connections are refused by port CLOSED of 127.0.0.1, where nobody listens, given up before they are up, and sockets are closed
 * that never were connected. Otherwise hold_ports() opens HELD connections to PORT, which are to be all the local ports that
 * there are, and exhaust_ports() fails TIMES times. It begins with the first line of standard input, says "done" at the end, and
 * ends with standard input.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void fail(const char *what)
{
	perror(what);
	_exit(1);
}

static int new_socket(int flags)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);

	if (fd < 0)
		fail("socket");
	return fd;
}

static int connected(int fd, int port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	return connect(fd, (struct sockaddr *)&to, sizeof to) ? errno : 0;
}

static void expect(int error, int wanted)
{
	if (error == wanted)
		return;
	errno = error;
	fail("connect, which should have ended otherwise");
}

static __attribute__((noinline)) void refuse_orders(int closed)
{
	int fd = new_socket(0);

	expect(connected(fd, closed), ECONNREFUSED);
	close(fd);
}

static __attribute__((noinline)) void never_connect(void) { close(new_socket(0)); }

static __attribute__((noinline)) void bind_only(void)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = new_socket(0);

	if (bind(fd, (struct sockaddr *)&any, sizeof any))
		fail("bind");
	close(fd);
}

/* deaf_listener is the port of a listener whose accept queue is full, so that it answers nobody. */
static __attribute__((noinline)) int deaf_listener(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof at;
	int fd = new_socket(0);

	if (bind(fd, (struct sockaddr *)&at, size) || listen(fd, 0) || getsockname(fd, (struct sockaddr *)&at, &size))
		fail("listen");
	expect(connected(new_socket(0), ntohs(at.sin_port)), 0);
	return ntohs(at.sin_port);
}

static __attribute__((noinline)) void give_up(int deaf)
{
	int fd = new_socket(SOCK_NONBLOCK);

	expect(connected(fd, deaf), EINPROGRESS);
	close(fd);
}

static __attribute__((noinline)) void hold_ports(int port, int held)
{
	for (int i = 0; i < held; i++)
		expect(connected(new_socket(0), port), 0);
}

static __attribute__((noinline)) void exhaust_ports(int port)
{
	int fd = new_socket(0);

	expect(connected(fd, port), EADDRNOTAVAIL);
	close(fd);
}

static void each_kind(int closed, int times)
{
	int deaf = deaf_listener();

	for (int i = 0; i < times; i++) {
		refuse_orders(closed);
		never_connect();
		bind_only();
		give_up(deaf);
	}
}

static void for_want_of_ports(int port, int times, int held)
{
	hold_ports(port, held);
	for (int i = 0; i < times; i++)
		exhaust_ports(port);
}

int main(int argc, char **argv)
{
	int times, held;
	char c;

	if (argc != 5)
		return 2;
	times = atoi(argv[3]);
	held = atoi(argv[4]);
	dprintf(1, "ready\n");
	while (read(0, &c, 1) == 1 && c != '\n')
		;
	if (held)
		for_want_of_ports(atoi(argv[1]), times, held);
	else
		each_kind(atoi(argv[2]), times);
	dprintf(1, "done\n");
	while (read(0, &c, 1) > 0)
		;
	return 0;
}
