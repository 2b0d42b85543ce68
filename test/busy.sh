#!/bin/bash
# busy.sh [TIMES] COMMAND...
#
# Runs a command while this host's loopback is busy: wrk opens a connection to nginx for each of its requests, about 2,000 a
# second. Says at the end how often the command passed and how many connections there were. Fails if the command does, once
# of TIMES (1), or if the load was not there until the end.
#
# wrk knows no rate of its own. It has 64 connections at a time, and nginx answers 2,200 requests a second in all and lets
# the others wait (limit_req). Both go before the command where that wants all processors. Both are Debian's. nginx has a
# configuration, folder and port of its own here: the host's is left alone. What is started here is ended here, by its process
# ID, however the script ends.
set -euo pipefail
set -m # each job is a process group of its own: a Ctrl-C comes to this script, which passes it on

rate=2200 # a little more: it falls where the processors are wanted by all
times=1
if [[ ${1-} =~ ^[0-9]+$ ]]; then
  times=$1
  shift
fi
if [ $# -eq 0 ]; then
  echo "usage: busy.sh [TIMES] COMMAND..." >&2
  exit 2
fi
PATH=$PATH:/usr/sbin # where Debian has nginx
for tool in nginx wrk; do
  command -v "$tool" >/dev/null || { echo "busy.sh: $tool is not installed: apt-get install nginx-light wrk" >&2; exit 1; }
done

folder=$(mktemp -d)
nginx='' wrk='' job=''

# end PID ends a job that was started here, with what it has started, and waits for it.
end() {
  [ -n "$1" ] || return 0
  kill -TERM -- "-$1" 2>/dev/null || true
  wait "$1" 2>/dev/null || true
}

cleanup() {
  end "$job"
  end "$wrk"
  end "$nginx"
  rm -rf "$folder"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# configure PORT writes nginx's configuration. One process does it all, and is nobody's parent.
configure() {
  mkdir -p "$folder/logs"
  echo ok >"$folder/page"
  cat >"$folder/nginx.conf" <<CONF
daemon off;
master_process off;
pid $folder/pid;
error_log $folder/logs/error.log;
events { worker_connections 1024; }
http {
  access_log off;
  keepalive_timeout 0;
  client_body_temp_path $folder/body;
  proxy_temp_path $folder/proxy;
  fastcgi_temp_path $folder/fastcgi;
  uwsgi_temp_path $folder/uwsgi;
  scgi_temp_path $folder/scgi;
  limit_req_zone \$server_port zone=all:1m rate=${rate}r/s;
  server {
    listen 127.0.0.1:$1;
    root $folder;
    location = /page { limit_req zone=all burst=1000; }
    location = $folder/status { stub_status; } # nobody else's nginx has that
  }
}
CONF
}

# status prints how many connections nginx has accepted so far.
status() {
  local line='' accepted=''
  exec 3<>"/dev/tcp/127.0.0.1/$port" || return 1
  printf 'GET %s HTTP/1.0\r\n\r\n' "$folder/status" >&3
  while read -r line <&3; do
    [[ $line =~ ^([0-9]+)\ [0-9]+\ [0-9]+ ]] && accepted=${BASH_REMATCH[1]}
  done
  exec 3>&-
  [ -n "$accepted" ] && echo "$accepted"
}

# serve starts nginx on the first port that is free, below those that the kernel gives to clients.
serve() {
  for port in {18080..18180}; do
    configure "$port"
    nice -n -10 nginx -p "$folder" -c "$folder/nginx.conf" -e "$folder/logs/error.log" 2>"$folder/said" &
    nginx=$!
    for _ in {1..100}; do
      status >/dev/null 2>&1 && return
      kill -0 "$nginx" 2>/dev/null || break
      sleep 0.05
    done
    end "$nginx"
    nginx=''
  done
  echo "busy.sh: nginx does not start: $(tail -1 "$folder/said")" >&2
  exit 1
}

milliseconds() { echo $((${EPOCHREALTIME/[.,]/} / 1000)); }

serve
nice -n -10 wrk --threads 1 --connections 64 --duration 24h --header 'Connection: close' "http://127.0.0.1:$port/page" >"$folder/wrk" 2>&1 &
wrk=$!
sleep 1
begun=$(milliseconds) first=$(status)
passed=0
for ((i = 1; i <= times; i++)); do
  "$@" &
  job=$!
  if wait "$job"; then passed=$((passed + 1)); fi
  job=''
  opened=$(($(status) - first)) took=$(($(milliseconds) - begun))
  echo "busy.sh: $passed of $i passed beside $((opened * 1000 / took)) connections a second: $opened in $((took / 1000)) s," \
    "wrk to $(nginx -v 2>&1 | sed 's/.*: //') on 127.0.0.1:$port"
done
for pid in "$wrk" "$nginx"; do
  kill -0 "$pid" 2>/dev/null || { echo "busy.sh: the load ended too early: $(cat "$folder/wrk" "$folder/logs/error.log")" >&2; exit 1; }
done
[ "$passed" -eq "$times" ]
