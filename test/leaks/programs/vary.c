/*
 * vary PORT OPENS
 *
 * Opens and closes OPENS connections to 127.0.0.1:PORT, each from another code path: which of three functions calls which, nine
 * deep, is the number of the connection in base three. It keeps the last ten, says "done", and ends with standard input.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define DEEP 9
#define KEPT 10

static int port, opens;

static void connect_once(int number)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to)) {
		perror("connect");
		_exit(1);
	}
	if (number < opens - KEPT)
		close(fd);
}

static void one(int number, int rest, int deep);
static void two(int number, int rest, int deep);
static void three(int number, int rest, int deep);
static void (*const ways[])(int, int, int) = { one, two, three };

/* What follows each call keeps it from becoming a jump. */
static volatile int calls;

#define WAY(name)                                                                                                     \
	static __attribute__((noinline)) void name(int number, int rest, int deep)                                   \
	{                                                                                                             \
		if (deep == DEEP)                                                                                     \
			connect_once(number);                                                                         \
		else                                                                                                  \
			ways[rest % 3](number, rest / 3, deep + 1);                                                   \
		calls++;                                                                                              \
	}
WAY(one)
WAY(two)
WAY(three)

int main(int argc, char **argv)
{
	char line[16];

	if (argc != 3)
		return 2;
	port = atoi(argv[1]);
	opens = atoi(argv[2]);
	puts("ready");
	fflush(stdout);
	if (!fgets(line, sizeof line, stdin))
		return 1;
	for (int i = 0; i < opens; i++)
		one(i, i, 0);
	puts("done");
	fflush(stdout);
	while (fgets(line, sizeof line, stdin))
		;
	return 0;
}
