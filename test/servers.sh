#!/bin/bash
# servers.sh CONNPROF
#
# Starts real servers of Debian's and of the Go and node runtimes on the loopback interface, each with some clients in a known
# situation, and prints a page with what connprof snapshot says of each. All have configurations, folders and ports of their own here.
# What is started here is ended here, by its process ID, however the script ends. Run it as root.
set -euo pipefail
set -m # each job is a process group of its own
connprof=$1
PATH=$PATH:/usr/sbin:$(dirname "$(ls -d /usr/lib/postgresql/*/bin/initdb | tail -1)")
for tool in nginx redis-server haproxy initdb node go curl; do
  command -v "$tool" >/dev/null || { echo "servers.sh: $tool is not installed: apt-get install nginx-light redis-server haproxy postgresql nodejs golang curl" >&2; exit 1; }
done
folder=$(mktemp -d)
# Of this script's cgroup only a sign is shown: all have it.
cgroup=$(sed 's/.*://' /proc/self/cgroup | awk 'length > n { n = length; longest = $0 } END { print longest }')
chmod 755 "$folder"
jobs=()
postgres='' # it waits for its sessions at SIGTERM, and ends them at SIGINT

cleanup() {
  [ -z "$postgres" ] || kill -INT "$postgres" 2>/dev/null || true
  for job in "${jobs[@]}"; do kill -TERM -- "-$job" 2>/dev/null || true; done
  for job in "${jobs[@]}"; do wait "$job" 2>/dev/null || true; done
  rm -rf "$folder"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# begin COMMAND... starts a job.
begin() {
  "$@" >>"$folder/log" 2>&1 </dev/null &
  jobs+=($!)
}

# await PORT waits until somebody listens there.
await() {
  for _ in $(seq 200); do
    (: <>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return
    sleep 0.1
  done
  echo "servers.sh: nobody listens on port $1" >&2
  tail -5 "$folder/log" >&2
  exit 1
}

# clients N PORT TEXT connects N times, sends the text, and neither reads nor closes.
clients() {
  begin bash -c 'for ((i = 0; i < $1; i++)); do exec {fd}<>"/dev/tcp/127.0.0.1/$2"; printf "$3" >&$fd; done; sleep 600' clients "$1" "$2" "$3"
}

# show TITLE TEXT ARGUMENTS... prints a look's output under a title. The look itself settles for a moment: clients are on their way.
show() {
  sleep 2
  printf '\n## %s\n\n%s\n\n```console\n$ sudo connprof snapshot %s\n' "$1" "$(fold -s -w 118 <<<"$2" | sed 's/ *$//')" "${*:3}"
  "$connprof" snapshot --no-color "${@:3}" 2>/dev/null | sed "s|$cgroup|/…|" | sed -n '/^By /,/^By object/p' | sed '$d' | sed -e :a -e '/^\n*$/{$d;N;ba' -e '}'
  printf '```\n'
}

get='GET /%s HTTP/1.1\r\nHost: x\r\n\r\n'

nginx_up() {
  mkdir -p "$folder/nginx/logs"
  head -c 8M /dev/urandom >"$folder/nginx/big"
  echo ok >"$folder/nginx/page"
  cat >"$folder/nginx.conf" <<CONF
daemon off;
user root;
worker_processes 2;
pid $folder/nginx.pid;
error_log $folder/nginx/logs/error.log;
events { worker_connections 1024; }
http {
  access_log off;
  sendfile on;
  keepalive_timeout 600;
  upstream back { server 127.0.0.1:18412; keepalive 16; }
  server { listen 127.0.0.1:18411; root $folder/nginx;
           location /proxied { proxy_pass http://back/page; proxy_http_version 1.1; proxy_set_header Connection ""; } }
  server { listen 127.0.0.1:18412; root $folder/nginx; }
}
CONF
  begin nginx -c "$folder/nginx.conf" -p "$folder/nginx"
  await 18411
}

haproxy_up() {
  cat >"$folder/haproxy.cfg" <<CONF
global
  nbthread 2
defaults
  mode http
  timeout client 600s
  timeout server 600s
  timeout connect 5s
  option http-server-close
frontend in
  bind 127.0.0.1:18421
  default_backend out
backend out
  server one 127.0.0.1:18412
CONF
  begin haproxy -db -f "$folder/haproxy.cfg"
  await 18421
}

postgres_up() {
  install -d -o postgres "$folder/postgres"
  begin setpriv --reuid postgres --regid postgres --clear-groups bash -c "initdb -D $folder/postgres/db -A trust >/dev/null &&
    exec postgres -D $folder/postgres/db -p 18431 -k $folder/postgres"
  postgres=${jobs[-1]}
  await 18431
}

go_up() {
  mkdir "$folder/go"
  cat >"$folder/go/main.go" <<'CODE'
package main

import "net/http"

func main() {
	http.ListenAndServe("127.0.0.1:18441", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("ok")) }))
}
CODE
  (cd "$folder/go" && GO111MODULE=off go build -o goserver main.go)
  begin "$folder/go/goserver"
  await 18441
}

cat <<'PAGE'
# What a look says of real servers

Each server has some clients in a known situation, on the loopback interface of one host. `make servers-page` starts them,
looks, and writes this page. Clients are `bash` and `curl`. The cgroup that all share is shown as `/…`.
PAGE

nginx_up
clients 40 18411 "${get/\%s/page}"
show 'nginx: 40 idle keep-alive connections' 'Two workers and their master are one line.' --comm nginx
clients 8 18411 "${get/\%s/big}"
show 'nginx: 8 clients that do not read a file' 'sendfile() queues pages of the page cache. They are booked as the send queue, and cost nothing more.' --comm nginx --by listener,state
clients 12 18411 "${get/\%s/proxied}"
show 'nginx: 12 proxied clients' 'The upstream is another server of the same nginx, so that it has both ends of the connections between them. Up to 16 are kept for later requests.' --comm nginx --by service

begin redis-server --port 18451 --save '' --appendonly no --dir "$folder"
await 18451
(exec {fd}<>/dev/tcp/127.0.0.1/18451; printf '*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n$4194304\r\n' >&$fd; head -c 4M /dev/zero >&$fd; printf '\r\n' >&$fd; read -r -t 10 <&$fd) || true
clients 20 18451 '*2\r\n$3\r\nGET\r\n$3\r\nbig\r\n'
show 'redis: 20 clients that do not read' 'Each has asked for a value of 4 MiB. What the kernel takes of it is in the send queue and in the client'"'"'s receive queue; the rest is in redis.' --comm redis-server
show 'The same from both ends' 'A client is two processes that share its sockets, bash and its sleep. They have data that nobody reads.' --port 18451 --by process,state

haproxy_up
clients 25 18421 "${get/\%s/page}"
for _ in $(seq 30); do curl -s -o /dev/null -H 'Connection: close' http://127.0.0.1:18421/page; done
show 'haproxy: 25 idle clients, and 30 that closed' '`http-server-close` closes the upstream after each answer: what was first to close waits in TIME_WAIT, and no process has it.' --port 18421 --by process,state

postgres_up
for _ in $(seq 15); do begin psql -h 127.0.0.1 -p 18431 -U postgres -c 'select pg_sleep(600)' postgres; done
sleep 2
show 'PostgreSQL: 15 sessions' 'One process a connection; they are one line.' --comm postgres

go_up
clients 30 18441 "${get/\%s/x}"
show 'Go net/http: 30 idle keep-alive connections' 'The Go runtime puts every socket into one epoll set.' --comm goserver

begin node -e 'require("http").createServer((_, r) => r.end("ok")).listen(18461, "127.0.0.1").keepAliveTimeout = 600000'
await 18461
clients 30 18461 "${get/\%s/x}"
show 'node http: 30 idle keep-alive connections' 'As the Go server, with one thread.' --port 18461 --comm node
