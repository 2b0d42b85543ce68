/*
 * leak PORT OPENS SECONDS
 *
 * Three code paths open OPENS connections each to 127.0.0.1:PORT, spread evenly over SECONDS. leak_orders() never closes each
 * tenth, pool_users() keeps the last POOL, and poll_prices() closes every one. It begins with the first line of standard input,
 * says "done" when all are open, and ends with standard input.
 *
 * It is compiled in several ways. THREADS: each path has a thread of its own. FORKS: workers do all of it, each as often as
 * said. DAEMON: a child that says "daemon PID" does all of it, and the process ends. LEADERLESS: the first thread ends, and another one
 * does all of it. LIBRARY: it is a library with the function leak_main().
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define POOL 20
#define WORKERS 3

static int port, opens;
static double seconds;
static struct timespec begun;

static void fail(const char *what)
{
	perror(what);
	_exit(1);
}

static inline __attribute__((always_inline)) int open_connection(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		fail("socket");
	if (connect(fd, (struct sockaddr *)&to, sizeof to)) /* open_connection calls connect */
		fail("connect");
	return fd;
}

static __attribute__((noinline)) void leak_orders(int i)
{
	int fd = open_connection(); /* leak_orders opens */

	if (i % 10)
		close(fd);
}

static __attribute__((noinline)) void pool_users(int i)
{
	static int pool[POOL];
	int fd = open_connection();

	if (i >= POOL)
		close(pool[i % POOL]);
	pool[i % POOL] = fd;
}

static __attribute__((noinline)) void poll_prices(int i)
{
	int fd = open_connection();

	(void)i;
	close(fd);
}

static void (*const paths[])(int) = { leak_orders, pool_users, poll_prices };
#define PATHS 3

/* pace waits until the time for the i-th has come. */
static void pace(int i)
{
	double after = seconds * i / opens;
	struct timespec at = begun;

	at.tv_sec += (time_t)after;
	at.tv_nsec += (long)((after - (time_t)after) * 1e9);
	if (at.tv_nsec >= 1000000000) {
		at.tv_nsec -= 1000000000;
		at.tv_sec++;
	}
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}

#ifdef THREADS
static void *one_path(void *path)
{
	for (int i = 0; i < opens; i++) {
		pace(i);
		(*(void (*const *)(int))path)(i);
	}
	return NULL;
}
#else
static void in_turn(void)
{
	for (int i = 0; i < opens; i++) {
		pace(i);
		for (int p = 0; p < PATHS; p++)
			paths[p](i);
	}
}
#endif

#ifdef FORKS
static __attribute__((noinline)) void work(int told)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	in_turn();
	if (write(told, ".", 1) != 1)
		fail("write");
	for (;;)
		pause();
}
#endif

static void all_paths(void)
{
#if defined THREADS
	pthread_t threads[PATHS];

	for (int p = 0; p < PATHS; p++)
		if (pthread_create(&threads[p], NULL, one_path, (void *)&paths[p]))
			fail("pthread_create");
	for (int p = 0; p < PATHS; p++)
		pthread_join(threads[p], NULL);
#elif defined FORKS
	int told[2];
	char c;

	if (pipe(told))
		fail("pipe");
	for (int w = 0; w < WORKERS; w++)
		if (!fork())
			work(told[1]);
	for (int w = 0; w < WORKERS; w++)
		if (read(told[0], &c, 1) != 1)
			fail("read");
#else
	in_turn();
#endif
}

/* until_line reads standard input to the end of a line, or to its end. */
static void until_line(void)
{
	char c;

	while (read(0, &c, 1) == 1 && c != '\n')
		;
}

/* rest does all and waits for the end. */
static void *rest(void *unused)
{
	char c;

	clock_gettime(CLOCK_MONOTONIC, &begun);
	all_paths();
	if (dprintf(1, "done\n") < 0)
		fail("write");
	while (read(0, &c, 1) > 0)
		;
	return unused;
}

#ifdef LIBRARY
int leak_main(int argc, char **argv)
#else
int main(int argc, char **argv)
#endif
{
	if (argc != 4)
		return 2;
	port = atoi(argv[1]);
	opens = atoi(argv[2]);
	seconds = atof(argv[3]);
	if (dprintf(1, "ready\n") < 0)
		fail("write");
	until_line();
#ifdef DAEMON
	if (fork())
		return 0;
	setsid();
	if (dprintf(1, "daemon %d\n", (int)getpid()) < 0)
		fail("write");
#endif
#ifdef LEADERLESS
	pthread_t other;

	if (pthread_create(&other, NULL, rest, NULL))
		fail("pthread_create");
	pthread_exit(NULL);
#endif
	rest(NULL);
	return 0;
}
