// The flame graph: an icicle with the root on top, drawn as elements so that frames can be focused and read out.
if (document.getElementById('flame')) {
  let data = look ? look.flame() : JSON.parse(document.getElementById('flame-data').textContent);
  const categories = data.categories;
  const ROW = 20, ROLE = 1, LEAF = 3, MIN_PX = 0.5;
  const box = document.getElementById('flame');
  const tip = document.getElementById('tip');
  let nodes = read(data);
  const shown = new Map();
  let zoom = nodes[0], focused = nodes[0], matcher = null;
  let boxWidth = 0; // asked for once a drawing: to ask after a change has the browser lay out all frames

  // read unpacks the preorder list and works out what it implies: parents, places, the end of each subtree.
  function read({names, nodes: flat, stride, diff, refs}) {
    const list = [], open = [];
    for (let at = 0; at < flat.length; at += stride) {
      const [name, depth, width, count, kind, cache, bytes, old] = flat.slice(at, at + stride);
      const parent = open[depth - 1];
      const n = {id: list.length, name: names[name], depth, width, count, kind, cache: names[cache], parent,
        bytes: diff ? bytes : width, old: old || 0, x: parent ? parent.next : 0, end: 0, role: kind === ROLE ? names[name] : parent && parent.role};
      if (refs) n.ref = refs[list.length];
      n.next = n.x;
      if (parent) parent.next += width;
      open[depth] = n;
      open.length = depth + 1;
      for (const o of open) o.end = n.id + 1;
      list.push(n);
    }
    paint(list);
    return list;
  }

  // paint gives a frame the colour of the one category that nine tenths of its bytes belong to, if there is one.
  function paint(list) {
    for (let i = list.length - 1; i >= 0; i--) {
      const n = list[i];
      n.by ||= categories.map(() => 0);
      if (n.kind >= LEAF) n.by[n.kind - LEAF] = n.width;
      const best = n.by.indexOf(Math.max(...n.by));
      n.category = n.by[best] >= 0.9 * n.width && n.width > 0 ? categories[best] : '';
      if (n.parent) {
        n.parent.by ||= categories.map(() => 0);
        n.by.forEach((v, k) => { n.parent.by[k] += v; });
      }
      n.by = null;
    }
  }

  // amount writes a frame's bytes, or its count where that is what frames are as wide as.
  const amount = v => data.unit ? group(v) + ' ' + data.unit : size(v);

  const isAbove = (n, z) => n.id < z.id && z.id < n.end;

  function place(n, z) {
    if (isAbove(n, z) || !z.width) return [0, 1];
    const x = (n.x - z.x) / z.width;
    return [Math.min(Math.max(x, -1), 2), Math.min(n.width / z.width, 3)];
  }

  function visible(z) {
    const list = [], width = boxWidth = box.clientWidth;
    for (let i = 0; i < nodes.length;) {
      const n = nodes[i];
      const inside = isAbove(n, z) || n.id >= z.id && n.id < z.end;
      if (!inside || place(n, z)[1] * width < MIN_PX) { i = n.end; continue; }
      list.push(n);
      i++;
    }
    return list;
  }

  function classes(n) {
    let c = 'f';
    if (n.kind === 0) c += ' root';
    else if (n.kind === ROLE) c += ' role';
    else if (data.diff) c += ' ' + changeClass(n);
    else if (n.ref && n.kind < LEAF) c += ' code p-' + n.ref.process;
    else c += n.category ? ' c-' + n.category : ' mixed r-' + (n.role === 'server' ? 'server' : 'client');
    if (n.kind >= LEAF) c += ' leaf';
    if (isAbove(n, zoom)) c += ' above';
    if (matcher) c += matcher(n) ? ' hit' : ' miss';
    return c;
  }

  function changeClass(n) {
    const change = n.bytes - n.old;
    if (Math.abs(change) < 0.0005 * Math.max(n.bytes, n.old)) return 'd-same';
    return change > 0 ? 'd-up' : 'd-down';
  }

  function put(e, n, z) {
    const [x, w] = place(n, z);
    const px = w * boxWidth;
    e.style.left = x * 100 + '%';
    e.style.width = w * 100 + '%';
    e.style.top = n.depth * ROW + 'px';
    e.className = classes(n) + (px < 4 ? ' thin' : '');
    // The change of a difference is told by strength too, not only by hue.
    if (data.diff && n.kind > ROLE) {
      const share = Math.abs(n.bytes - n.old) / Math.max(n.bytes, n.old, 1);
      e.style.setProperty('--mix', matcher && !matcher(n) ? '7%' : Math.min(25 + 300 * share, 88) + '%');
    }
    const text = px > 24 ? n.name : '';
    if (e.textContent !== text) e.textContent = text;
    e.tabIndex = n === focused ? 0 : -1;
  }

  function create(n) {
    const e = element('div');
    e.dataset.id = n.id;
    e.setAttribute('role', 'treeitem');
    e.setAttribute('aria-level', n.depth + 1);
    e.setAttribute('aria-label', n.name + ', ' + amount(n.bytes) + ', ' + percent(n.width, nodes[0].width));
    shown.set(n.id, e);
    box.append(e);
    return e;
  }

  function render(from) {
    const list = visible(zoom), keep = new Set(list.map(n => n.id));
    box.classList.remove('moving');
    if (!keep.has(focused.id)) focused = zoom;
    for (const n of list) if (!shown.has(n.id)) put(create(n), n, from);
    if (from !== zoom) { box.offsetWidth; box.classList.add('moving'); }
    for (const n of list) put(shown.get(n.id), n, zoom);
    for (const [id, e] of shown) {
      if (keep.has(id)) continue;
      shown.delete(id);
      if (from === zoom) { e.remove(); continue; }
      put(e, nodes[id], zoom);
      e.tabIndex = -1;
      e.style.opacity = 0;
      e.style.pointerEvents = 'none';
      setTimeout(() => e.remove(), 220);
    }
    box.style.height = ROW * (1 + list.reduce((most, n) => Math.max(most, n.depth), 0)) + 2 + 'px';
  }

  // load shows another tree in the place of this one, from its root on.
  function load(next) {
    data = next;
    nodes = read(data);
    for (const e of shown.values()) e.remove();
    shown.clear();
    zoom = focused = nodes[0];
    zoomTo(zoom);
  }

  function zoomTo(n) {
    const from = zoom;
    zoom = n;
    render(from);
    crumbs();
    match();
    tip.hidden = true;
    if (look && look.shown) look.shown(zoom);
    rememberHash('f', n.id ? String(n.id) : '');
  }

  // crumbs names the way to the zoomed frame; the middle of a long way is left out.
  function crumbs() {
    const way = [], nav = document.getElementById('crumbs');
    for (let n = zoom; n; n = n.parent) way.unshift(n);
    const parts = way.length > 6 ? [...way.slice(0, 2), null, ...way.slice(-3)] : way;
    nav.replaceChildren();
    parts.forEach((n, i) => {
      if (i) nav.append(' › ');
      if (!n) { nav.append('…'); return; }
      if (n === zoom) { nav.append(element('b', '', n.name)); return; }
      const b = element('button', '', n.name);
      b.type = 'button';
      b.onclick = () => zoomTo(n);
      nav.append(b);
    });
    if (zoom.id) nav.append(element('span', '', '  ' + amount(zoom.bytes) + ', ' + percent(zoom.width, nodes[0].width) + ' of all'));
    document.getElementById('unzoom').disabled = zoom === nodes[0];
  }

  // search takes a regular expression, and what is none as plain text.
  function search(text) {
    matcher = null;
    if (text) {
      let re;
      try { re = new RegExp(text, 'i'); } catch { re = new RegExp(text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'), 'i'); }
      matcher = n => re.test(n.name) || n.kind < LEAF && n.ref && re.test(n.ref.whole) || n.kind >= LEAF && re.test(n.cache);
    }
    for (const [id, e] of shown) put(e, nodes[id], zoom);
    match();
    rememberHash('q', text);
  }

  // match counts each byte once, however many frames of its path match.
  function match() {
    const out = document.getElementById('matched');
    out.textContent = '';
    out.className = '';
    if (!matcher) return;
    let sum = 0, frames = 0;
    for (let n = zoom.parent; n && !frames; n = n.parent) if (matcher(n)) { sum = zoom.width; frames = 1; }
    for (let i = frames ? zoom.end : zoom.id; i < zoom.end;) {
      const n = nodes[i];
      if (!matcher(n)) { i++; continue; }
      sum += n.width;
      frames++;
      i = n.end;
    }
    out.textContent = frames ? amount(sum) + ' matched, ' + percent(sum, zoom.width) : 'no frame matches';
    if (!frames) out.className = 'warn';
  }

  function facts(n) {
    if (data.facts) return data.facts(n, nodes[0].width);
    const rows = [];
    const endpoints = n.role !== undefined ? data.endpoints[n.role] : Object.values(data.endpoints).reduce((a, b) => a + b, 0);
    if (data.diff) {
      const change = n.bytes - n.old;
      rows.push(['old', size(n.old)], ['new', size(n.bytes)], ['change', (change > 0 ? '+' : '') + size(change) +
        (n.old ? ' (' + percent(change, n.old) + ')' : '')]);
      if (endpoints) rows.push(['change an endpoint', (change > 0 ? '+' : '') + size(change / endpoints)]);
    } else {
      rows.push([data.look ? 'bytes' : 'page bytes', size(n.bytes) + (n.bytes >= 1024 ? ' (' + group(n.bytes) + ' B)' : '')]);
      if (endpoints) rows.push([n.role ? 'a ' + n.role + ' endpoint' : 'an endpoint', size(n.bytes / endpoints)]);
    }
    rows.push(['of all', percent(n.width, nodes[0].width)]);
    if (n.parent) rows.push(['of ' + (n.parent.kind === 0 ? 'parent' : 'the frame above'), percent(n.width, n.parent.width)]);
    if (n.count || !data.look) rows.push([data.look ? 'sockets' : 'objects', group(n.count)]);
    if (data.look && n.count && !data.diff) rows.push(['a socket', size(n.bytes / n.count)]);
    if (n.kind >= LEAF && n.cache) rows.push(['slab cache', n.cache]);
    return rows;
  }

  function showTip(n, x, y) {
    const list = element('dl');
    for (const [key, value] of facts(n)) list.append(element('dt', '', key), element('dd', '', value));
    tip.replaceChildren(element('b', '', n.name), list);
    tip.hidden = false;
    const r = tip.getBoundingClientRect();
    const left = x + 14 + r.width > innerWidth - 8 ? x - r.width - 14 : x + 14;
    const top = y + 18 + r.height > innerHeight - 8 ? y - r.height - 12 : y + 18;
    tip.style.left = Math.max(8, left) + 'px';
    tip.style.top = Math.max(8, top) + 'px';
  }

  const nodeOf = target => { const e = target.closest('.f'); return e && nodes[e.dataset.id]; };

  function focus(n) {
    if (!n || !shown.has(n.id)) return;
    const before = shown.get(focused.id);
    if (before) before.tabIndex = -1;
    focused = n;
    const e = shown.get(n.id);
    e.tabIndex = 0;
    e.focus({preventScroll: false});
  }

  // neighbour walks to the shown frame beside, skipping those too narrow to be drawn.
  function neighbour(n, key) {
    if (key === 'ArrowUp') return n.parent;
    if (key === 'ArrowDown') return nodes[n.id + 1] && nodes[n.id + 1].parent === n ? nodes[n.id + 1] : null;
    const row = [...shown.keys()].map(id => nodes[id]).filter(m => m.depth === n.depth).sort((a, b) => a.x - b.x);
    return row[row.indexOf(n) + (key === 'ArrowRight' ? 1 : -1)];
  }

  box.addEventListener('click', e => { const n = nodeOf(e.target); if (n) { focused = n; zoomTo(n); } });
  box.addEventListener('pointermove', e => { const n = nodeOf(e.target); if (n) showTip(n, e.clientX, e.clientY); else tip.hidden = true; });
  box.addEventListener('pointerleave', () => { tip.hidden = true; });
  box.addEventListener('focusin', e => {
    const n = nodeOf(e.target);
    if (!n || !e.target.matches(':focus-visible')) return;
    const r = e.target.getBoundingClientRect();
    showTip(n, Math.max(r.left, box.getBoundingClientRect().left), r.bottom - 10);
  });
  box.addEventListener('focusout', () => { tip.hidden = true; });
  box.addEventListener('keydown', e => {
    const n = nodeOf(e.target);
    if (!n) return;
    if (e.key === 'Enter' || e.key === ' ') { e.preventDefault(); zoomTo(n); focus(n); }
    if (e.key.startsWith('Arrow')) { e.preventDefault(); focus(neighbour(n, e.key)); }
  });
  const input = document.getElementById('search');
  input.addEventListener('input', () => search(input.value));
  document.getElementById('unzoom').onclick = () => zoomTo(nodes[0]);
  document.addEventListener('keydown', e => {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const typing = ['INPUT', 'SELECT'].includes(document.activeElement.tagName);
    if (typing && document.activeElement !== input) return; // the page's other fields have keys of their own
    if (e.key === '/' && !typing) { e.preventDefault(); input.focus(); input.select(); }
    if (e.key === 'Escape') {
      if (input.value) { input.value = ''; search(''); } else zoomTo(nodes[0]);
      tip.hidden = true;
    }
  });
  new ResizeObserver(() => render(zoom)).observe(box);
  if (look) {
    look.changed = () => load(look.flame());
    look.at = () => zoom.ref;
    look.zoom = ref => zoomTo(nodes.find(n => n.ref === ref) || nodes[0]);
  }

  input.value = hash.get('q') || '';
  zoom = nodes[Number(hash.get('f'))] || nodes[0];
  render(zoom);
  crumbs();
  if (look && look.shown) look.shown(zoom);
  if (input.value) search(input.value);
}
