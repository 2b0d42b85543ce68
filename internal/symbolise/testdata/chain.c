/* Waits in a system call at the end of a known path, until its standard input has something. The functions have a use for
 * registers that callees save, frames of several sizes, and one whose size is known at run time only. */
#include <alloca.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEPT __attribute__((noinline, noclone))

static volatile int sink;

KEPT static int leaf(int fd, char *into, int a, int b, int c)
{
	long n = read(fd, into, 1);

	return sink + (int)n + a * b + c;
}

KEPT static int large(int fd, int a, int b)
{
	char room[700];

	memset(room, a, sizeof(room));
	return leaf(fd, room, a, b, room[b & 63]) + room[a & 63];
}

KEPT static int any_size(int fd, int n)
{
	char *room = alloca(n);

	memset(room, n, n);
	return large(fd, n, room[n / 2]) + room[n / 3];
}

KEPT static int again(int fd, int depth, int x)
{
	int y = x * 7 + depth;

	if (depth == 0)
		return any_size(fd, 100 + x % 3);
	return again(fd, depth - 1, y) + y + x;
}

static int by_value(const void *a, const void *b)
{
	(void)a;
	(void)b;
	return again(0, 4, 3);
}

KEPT static void *first(void *with)
{
	int two[2] = { 2, 1 };

	qsort(two, 2, sizeof(two[0]), by_value);
	return with;
}

int main(int argc, char **argv)
{
	pthread_t thread;

	(void)argv;
	if (argc < 2)
		return first(NULL) != NULL;
	if (pthread_create(&thread, NULL, first, NULL))
		return 1;
	return pthread_join(thread, NULL);
}
