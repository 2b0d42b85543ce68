// leak PORT OPENS SECONDS: what leak.c does, with what makes C++'s names and stacks what they are. pool_users() is a template's,
// poll_prices() is called through std::function and leaves by an exception, whose unwinding closes the connection.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

namespace shop {

class Connection {
public:
	explicit Connection(int port) : fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0))
	{
		sockaddr_in to{};
		to.sin_family = AF_INET;
		to.sin_port = htons(port);
		to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		if (fd < 0 || ::connect(fd, reinterpret_cast<sockaddr *>(&to), sizeof to))
			throw std::system_error(errno, std::generic_category(), "connect");
	}
	Connection(Connection &&other) noexcept : fd(other.fd) { other.fd = -1; }
	Connection &operator=(Connection &&other) noexcept
	{
		std::swap(fd, other.fd);
		return *this;
	}
	~Connection()
	{
		if (fd >= 0)
			::close(fd);
	}

private:
	int fd;
};

struct Price : std::runtime_error {
	using std::runtime_error::runtime_error;
};

class Orders {
public:
	explicit Orders(int port) : port(port) {}
	[[gnu::noinline]] void leak_orders(int i)
	{
		Connection c(port);
		if (i % 10 == 0)
			forgotten.push_back(std::move(c));
	}

private:
	int port;
	std::vector<Connection> forgotten;
};

template <class Item, std::size_t Size> class Users {
public:
	explicit Users(int port) : port(port) {}
	[[gnu::noinline]] void pool_users(int i)
	{
		Item item(port);
		if (pool.size() < Size)
			pool.push_back(std::move(item));
		else
			pool[i % Size] = std::move(item);
	}

private:
	int port;
	std::vector<Item> pool;
};

[[gnu::noinline]] void poll_prices(int port, int i)
{
	Connection c(port);
	throw Price("no price of " + std::to_string(i));
}

} // namespace shop

int main(int argc, char **argv)
{
	if (argc != 4)
		return 2;
	const int port = std::atoi(argv[1]), opens = std::atoi(argv[2]);
	const std::chrono::duration<double> seconds(std::atof(argv[3]));
	shop::Orders orders(port);
	shop::Users<shop::Connection, 20> users(port);
	const std::array<std::function<void(int)>, 3> paths{
		[&](int i) { orders.leak_orders(i); },
		[&](int i) { users.pool_users(i); },
		[=](int i) { shop::poll_prices(port, i); },
	};
	std::string line;
	std::cout << "ready" << std::endl;
	std::getline(std::cin, line);
	const auto begun = std::chrono::steady_clock::now();
	for (int i = 0; i < opens; i++) {
		std::this_thread::sleep_until(begun + seconds * i / opens);
		for (const auto &path : paths) {
			try {
				path(i);
			} catch (const shop::Price &) {
			}
		}
	}
	std::cout << "done" << std::endl;
	while (std::getline(std::cin, line)) {
	}
}
