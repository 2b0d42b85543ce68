# python3 leak.py FOLDER PORT OPENS SECONDS: what leak.c does, by a module in FOLDER whose functions are C.
import sys
import time

sys.path.insert(0, sys.argv[1])
import leakmodule  # noqa: E402

port, opens, seconds = int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])


def take(path, i):
    path(port, i)


print("ready", flush=True)
sys.stdin.readline()
begun = time.monotonic()
for i in range(opens):
    time.sleep(max(0, begun + seconds * i / opens - time.monotonic()))
    for path in (leakmodule.leak_orders, leakmodule.pool_users, leakmodule.poll_prices):
        take(path, i)
print("done", flush=True)
sys.stdin.read()
