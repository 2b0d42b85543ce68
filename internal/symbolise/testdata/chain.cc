// Waits in a system call at the end of a known path through C++, until its standard input has something.
#include <functional>
#include <unistd.h>
#include <vector>

namespace nested {

struct Base {
	virtual ~Base() = default;
	virtual long wait(int depth) = 0;
};

template <typename T> struct Holder : Base {
	T held{};
	[[gnu::noinline]] long wait(int depth) override
	{
		char into;
		if (depth > 0)
			return wait(depth - 1) + 1;
		return read(0, &into, 1) + static_cast<long>(held);
	}
};

[[gnu::noinline]] long call(const std::function<long(int)> &f) { return f(2) + 1; }

} // namespace nested

int main(int argc, char **)
{
	std::vector<nested::Base *> all{ new nested::Holder<double> };
	return static_cast<int>(nested::call([&](int depth) { return all.at(argc - 1)->wait(depth); }));
}
