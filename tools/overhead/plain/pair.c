/* A plain pair of the shape of connprof's load, with nothing of connprof in it: a server process that accepts into epoll
 * sets and a client process that connects from many addresses, each of threads with file-descriptor tables of their own.
 *
 *   pair ADDRESSES CONNECTIONS    prints: connections up, seconds, CPU seconds of both processes
 *
 * It makes a network namespace of its own, in which 127.0.0.0/8 is all there is, with an established hash sized like
 * connprof's. Seconds are from the first connect() to the last connection that is up and accepted. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef IP_LOCAL_PORT_RANGE
#define IP_LOCAL_PORT_RANGE 51
#endif

enum {
	SERVER_PORT = 8090,
	FIRST_PORT = 1024,
	TABLE = 19000, /* sockets a thread: below the usual hard limit of RLIMIT_NOFILE */
	BACKLOG = 65535,
	WINDOW = BACKLOG / 4, /* connections that may wait to be accepted */
	CONNECTORS = 2,	      /* client threads that connect at a time */
	MOST = 120,	      /* seconds until it gives up */
};

/* Both processes map it. */
static struct {
	_Alignas(64) atomic_int next;
	_Alignas(64) atomic_int up;
	_Alignas(64) atomic_int accepted;
	_Alignas(64) atomic_int ready; /* threads that have their tables */
	_Alignas(64) atomic_int begin; /* 1: connect */
	_Alignas(64) atomic_int done;  /* 1: close and end */
} * shared;

static int addresses, connections, listener;
static pthread_mutex_t accepting = PTHREAD_MUTEX_INITIALIZER;

static void fail(const char *what)
{
	fprintf(stderr, "pair: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static struct sockaddr_in address_of(unsigned last_bytes, int port)
{
	return (struct sockaddr_in){
		.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(0x7f000000u + last_bytes)};
}

static void write_sysctl(const char *path, unsigned value)
{
	FILE *f = fopen(path, "w");

	if (!f)
		return; /* an older kernel has fewer: then the hash is the host's */
	fprintf(f, "%u", value);
	fclose(f);
}

/* A namespace takes the size of its established hash from the one that it is made in, since 6.1. */
static void enter_network(void)
{
	unsigned buckets = 1;

	while (buckets < 2u * connections)
		buckets *= 2;
	if (unshare(CLONE_NEWNET))
		fail("make a network namespace");
	write_sysctl("/proc/sys/net/ipv4/tcp_child_ehash_entries", buckets);
	if (unshare(CLONE_NEWNET))
		fail("make a network namespace");
	write_sysctl("/proc/sys/net/core/somaxconn", BACKLOG);
	write_sysctl("/proc/sys/net/ipv4/tcp_max_syn_backlog", BACKLOG);
	struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &lo))
		fail("bring up lo");
	close(fd);
}

/* A table and an epoll set of the thread's own; the table is grown at once. */
static int enter_thread(void)
{
	if (syscall(SYS_close_range, 1u << 20, ~0u, 2 /* CLOSE_RANGE_UNSHARE */))
		fail("make a file-descriptor table of a thread's own");
	int set = epoll_create1(EPOLL_CLOEXEC);

	if (set < 0)
		fail("make an epoll set");
	int high = fcntl(set, F_DUPFD_CLOEXEC, TABLE + 32);

	if (high >= 0)
		close(high);
	atomic_fetch_add(&shared->ready, 1);
	return set;
}

static void wait_for(atomic_int *what, int value)
{
	while (atomic_load(what) < value)
		usleep(what == &shared->done ? 20000 : 200);
}

static void watch(int set, int fd, unsigned events)
{
	struct epoll_event e = {.events = events, .data.fd = fd};

	if (epoll_ctl(set, EPOLL_CTL_ADD, fd, &e))
		fail("epoll_ctl");
}

/* One thread accepts at a time, until its table is full. */
static void *serve(void *unused)
{
	int set = enter_thread(), held = 0;
	struct epoll_event e;

	pthread_mutex_lock(&accepting);
	watch(set, listener, EPOLLIN);
	while (held < TABLE && atomic_load(&shared->accepted) < connections) {
		epoll_wait(set, &e, 1, -1);
		int fd, before = held;

		while (held < TABLE && (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
			watch(set, fd, EPOLLIN | EPOLLRDHUP | EPOLLET);
			held++;
		}
		if (held < TABLE && errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
			fail("accept4");
		atomic_fetch_add(&shared->accepted, held - before);
	}
	epoll_ctl(set, EPOLL_CTL_DEL, listener, NULL);
	pthread_mutex_unlock(&accepting);
	wait_for(&shared->done, 1);
	return unused;
}

static void dial(int set, int i)
{
	int one = 1, port = FIRST_PORT + i / addresses, fd;

	if (port >= SERVER_PORT)
		port++; /* the server's own */
	struct sockaddr_in from = address_of(0x10001 + i % addresses, 0), to = address_of(1, SERVER_PORT);
	unsigned range = (unsigned)port << 16 | port;

	fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		fail("socket");
	setsockopt(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
	if (setsockopt(fd, SOL_IP, IP_LOCAL_PORT_RANGE, &range, sizeof(range)))
		fail("set IP_LOCAL_PORT_RANGE (Linux 6.3)");
	if (bind(fd, (struct sockaddr *)&from, sizeof(from)))
		fail("bind");
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) && errno != EINPROGRESS)
		fail("connect");
	watch(set, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
}

/* Counts what has come up; it waits for no more than the given time. */
static int take(int set, int milliseconds)
{
	struct epoll_event events[512];
	int n = epoll_wait(set, events, 512, milliseconds), up = 0;

	for (int i = 0; i < n; i++) {
		if (events[i].events & (EPOLLERR | EPOLLHUP))
			fail("a connection failed");
		up += (events[i].events & EPOLLOUT) != 0;
	}
	atomic_fetch_add(&shared->up, up);
	return up;
}

static void close_by_reset(int set)
{
	struct linger now_and_hard = {1, 0};

	for (int fd = set + 1; fd < set + TABLE + 32; fd++)
		if (!setsockopt(fd, SOL_SOCKET, SO_LINGER, &now_and_hard, sizeof(now_and_hard)))
			close(fd);
}

/* Connects stretch after stretch of what is left, a table full at most; begun holds back all but CONNECTORS threads. */
static pthread_mutex_t turn[CONNECTORS];

static void *connect_all(void *number)
{
	int set = enter_thread(), opened = 0, up = 0;
	long lane = (long)number % CONNECTORS;
	int share = connections / CONNECTORS + 1, fill = share < TABLE ? share : TABLE;

	wait_for(&shared->begin, 1);
	pthread_mutex_lock(&turn[lane]);
	while (opened < fill) {
		int i = atomic_fetch_add(&shared->next, 1);

		if (i >= connections)
			break;
		dial(set, i);
		opened++;
		if (opened % 64 == 0)
			up += take(set, 0);
		while (i - atomic_load(&shared->accepted) > WINDOW)
			up += take(set, 1);
	}
	pthread_mutex_unlock(&turn[lane]);
	while (up < opened)
		up += take(set, 100);
	wait_for(&shared->done, 1);
	close_by_reset(set);
	return NULL;
}

static pid_t start(void *(*body)(void *), int threads)
{
	pid_t pid = fork();

	if (pid < 0)
		fail("fork");
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	pthread_t t[threads];

	for (long i = 0; i < threads; i++)
		if (pthread_create(&t[i], NULL, body, (void *)i))
			fail("make a thread");
	for (int i = 0; i < threads; i++)
		pthread_join(t[i], NULL);
	exit(0);
}

static double cpu_of(pid_t pid)
{
	clockid_t clock;

	return clock_getcpuclockid(pid, &clock) ? 0 : now(clock);
}

static int all_up(void)
{
	return atomic_load(&shared->up) >= connections && atomic_load(&shared->accepted) >= connections;
}

int main(int argc, char **argv)
{
	if (argc != 3 || (addresses = atoi(argv[1])) < 1 || (connections = atoi(argv[2])) < 1)
		return fprintf(stderr, "usage: pair ADDRESSES CONNECTIONS\n"), 2;
	enter_network();
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct sockaddr_in at = address_of(1, SERVER_PORT);

	if (shared == MAP_FAILED || bind(listener, (struct sockaddr *)&at, sizeof(at)) || listen(listener, BACKLOG))
		fail("listen");
	for (int i = 0; i < CONNECTORS; i++)
		pthread_mutex_init(&turn[i], NULL);

	int threads = connections / TABLE + 1;
	pid_t server = start(serve, threads), client = start(connect_all, threads + CONNECTORS);

	wait_for(&shared->ready, 2 * threads + CONNECTORS);
	double cpu = cpu_of(server) + cpu_of(client), begun = now(CLOCK_MONOTONIC);

	atomic_store(&shared->begin, 1);
	while (!all_up() && now(CLOCK_MONOTONIC) - begun < MOST && !waitpid(-1, NULL, WNOHANG))
		usleep(500);
	double seconds = now(CLOCK_MONOTONIC) - begun;
	int whole = all_up();

	printf("%d %.6f %.6f\n", atomic_load(&shared->accepted), seconds, cpu_of(server) + cpu_of(client) - cpu);
	atomic_store(&shared->done, 1);
	if (!whole)
		kill(client, SIGKILL);
	waitpid(client, NULL, 0);
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
	return !whole;
}
