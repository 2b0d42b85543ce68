'use strict';

// The theme follows the system until the reader chooses; a #theme=dark in the address chooses too.
const hash = new URLSearchParams(location.hash.slice(1));

function rememberHash(key, value) {
  if (value) hash.set(key, value); else hash.delete(key);
  const text = hash.toString();
  try { history.replaceState(null, '', text ? '#' + text : location.pathname + location.search); } catch { /* some viewers forbid it */ }
}

{
  const root = document.documentElement;
  const button = document.getElementById('theme');
  const system = matchMedia('(prefers-color-scheme: dark)');
  const stored = key => { try { return localStorage.getItem(key); } catch { return null; } };
  const now = () => root.dataset.theme || (system.matches ? 'dark' : 'light');
  const label = () => { button.textContent = now() === 'dark' ? 'light' : 'dark'; button.title = 'switch to the ' + button.textContent + ' theme'; };
  const chosen = hash.get('theme') || stored('connprof-theme');
  if (chosen === 'dark' || chosen === 'light') root.dataset.theme = chosen;
  button.hidden = false;
  button.onclick = () => {
    root.dataset.theme = now() === 'dark' ? 'light' : 'dark';
    try { localStorage.setItem('connprof-theme', root.dataset.theme); } catch { /* then only for this view */ }
    label();
  };
  system.addEventListener('change', label);
  label();
}

// The same figures as number.go writes.
const group = n => n.toLocaleString('en-US', {maximumFractionDigits: 0});

function size(b) {
  if (b < 0) return '−' + size(-b);
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'];
  let unit = 0;
  while (b >= 1023.95 && unit < units.length - 1) { b /= 1024; unit++; }
  const places = unit === 0 && Number.isInteger(b) ? 0 : unit > 0 && b < 9.995 ? 2 : 1;
  return b.toLocaleString('en-US', {minimumFractionDigits: places, maximumFractionDigits: places}) + ' ' + units[unit];
}

function percent(part, whole) {
  if (!whole) return '–';
  const p = 100 * part / whole;
  return p > 0 && p < 0.05 ? '<0.1 %' : p.toFixed(1).replace('-', '−') + ' %';
}

function element(tag, className, text) {
  const e = document.createElement(tag);
  if (className) e.className = className;
  if (text !== undefined) e.textContent = text;
  return e;
}
