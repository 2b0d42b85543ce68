// node leak.js PORT OPENS SECONDS [net]
//
// What leak.c does, in JavaScript. net.connect() puts connect() off until the function that asked for it has returned, so that no
// function of the program is on the stack: with net it is called as programs do, without it at once, as node's own code does.
'use strict';

const net = require('net');

const [port, opens, seconds] = process.argv.slice(2, 5).map(Number);
const POOL = 20;

function openWithNet(whenUp) {
  const c = net.connect(port, '127.0.0.1');
  c.on('error', fail);
  c.on('connect', () => whenUp(() => c.destroy()));
}

function openAtOnce(whenUp) {
  const { TCP, TCPConnectWrap, constants } = process.binding('tcp_wrap');
  const handle = new TCP(constants.SOCKET);
  const request = new TCPConnectWrap();
  request.oncomplete = (status) => (status ? fail(new Error('connect: ' + status)) : whenUp(() => handle.close()));
  const error = handle.connect(request, '127.0.0.1', port);
  if (error) fail(new Error('connect: ' + error));
}

const open = process.argv[5] === 'net' ? openWithNet : openAtOnce;
const forgotten = [];
const pool = [];
let up = 0;

function counted(then) {
  return (close) => {
    then(close);
    if (++up === 3 * opens) console.log('done');
  };
}

function leak_orders(i) {
  open(counted((close) => (i % 10 ? close() : forgotten.push(close))));
}

function pool_users(i) {
  open(counted((close) => {
    if (pool[i % POOL]) pool[i % POOL]();
    pool[i % POOL] = close;
  }));
}

function poll_prices(i) {
  open(counted((close) => close()));
}

function fail(error) {
  console.error(error);
  process.exit(1);
}

// step opens the i-th of each path, waits for the time of the next, and so on.
function step(i, begun) {
  leak_orders(i);
  pool_users(i);
  poll_prices(i);
  if (++i < opens) setTimeout(step, begun + 1000 * seconds * i / opens - Date.now(), i, begun);
}

let started = false;
function start() {
  if (started) return;
  started = true;
  step(0, Date.now());
}

process.stdin.on('data', start);
process.stdin.on('end', () => process.exit(0));
console.log('ready');
