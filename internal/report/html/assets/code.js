// What the flame graph of a record is made from: the code of programs, as wide as the measure that the reader chooses.
if (document.getElementById('code-data')) {
  const code = JSON.parse(document.getElementById('code-data').textContent);
  const LEAF = 3, OTHER = LEAF + code.categories.indexOf('other');
  const measures = ['bytes', 'open', 'opened', 'failed'], units = ['', 'still open', 'opened', 'failed'];
  const buttons = [...document.querySelectorAll('.measures button')];
  const panel = document.getElementById('path');
  let measure = Math.max(measures.indexOf(hash.get('m')), 0);

  // The tree is the same whatever its measure is: only widths and leaves differ.
  const nodes = [], open = [];
  for (const [name, depth, process, place, whole] of code.nodes) {
    const n = {name: code.names[name], whole: code.names[whole], process, place: code.names[place], kids: [], ends: [], id: nodes.length};
    open.length = depth;
    if (depth) open[depth - 1].kids.push(n);
    open.push(n);
    nodes.push(n);
  }
  for (const [at, opener] of code.ends) nodes[at].ends.push(code.openers[opener]);

  const sum = list => list.reduce((a, b) => a + b, 0);
  const below = n => [...n.ends, ...n.kids.flatMap(below)];

  // add adds up lists of names with a figure at the end.
  function add(lists) {
    const at = new Map();
    for (const row of lists.flat()) {
      const key = row.slice(0, -1).join(), known = at.get(key);
      if (known) known[known.length - 1] += row[row.length - 1]; else at.set(key, [...row]);
    }
    return [...at.values()].sort((a, b) => b[b.length - 1] - a[a.length - 1]);
  }

  // leaves are what a measure is made of: objects, states, errors.
  function leaves(n) {
    if (measure === 0) return add(n.ends.map(o => o.objects)).map(([t, c, k, v]) => [code.names[t], code.names[c], LEAF + k, v]);
    const lists = {1: o => o.states, 3: o => o.errors}[measure];
    return lists ? add(n.ends.map(lists)).map(([t, v]) => [code.names[t], '', OTHER, v]) : [];
  }

  // flame is the tree as the flame graph reads it, the widest first.
  function flame() {
    const names = [''], index = new Map([['', 0]]), flat = [], refs = [];
    const at = name => {
      if (!index.has(name)) { index.set(name, names.length); names.push(name); }
      return index.get(name);
    };
    const width = n => n.width = sum(n.ends.map(o => o.values[measure])) + sum(n.kids.map(width));
    width(nodes[0]);
    const visit = (n, depth) => {
      if (depth && !n.width) return;
      flat.push(at(n.name), depth, n.width, 0, depth === 0 ? 0 : 2, 0);
      refs.push(n);
      let left = sum(n.ends.map(o => o.values[measure]));
      for (const [name, cache, kind, value] of leaves(n)) {
        const w = Math.min(value, left);
        left -= w;
        if (!w) continue;
        flat.push(at(name), depth + 1, w, 0, kind, at(cache));
        refs.push(n);
      }
      for (const k of [...n.kids].sort((a, b) => b.width - a.width)) visit(k, depth + 1);
    };
    visit(nodes[0], 0);
    return {names, nodes: flat, stride: 6, endpoints: {}, categories: code.categories, refs, unit: units[measure], facts};
  }

  function facts(n, all) {
    const o = below(n.ref), value = i => sum(o.map(x => x.values[i]));
    const rows = [[measure ? units[measure] : 'still open', amountOf(n.bytes)], ['of all', percent(n.width, all)]];
    if (n.kind >= LEAF) return n.cache ? [...rows, ['slab cache', n.cache]] : rows;
    if (n.ref.place) rows.unshift(['at', n.ref.place]);
    if (n.ref.whole !== n.name && n.ref.whole) rows.unshift(['in full', n.ref.whole]);
    rows.push(['opened', group(value(2))], ['closed', group(value(4))], ['failed', group(value(3))], ['still open', group(value(1))]);
    if (o.length === 1 && o[0].lifetime) rows.push(['lived p50, p90, p99', o[0].lifetime.join(', ')]);
    return rows;
  }

  const amountOf = v => measure ? group(v) : size(v);

  function list(title, rows, write) {
    if (!rows.length) return null;
    const box = element('div');
    box.append(element('h3', '', title));
    const dl = element('dl', 'facts');
    for (const row of rows.slice(0, 10)) {
      const [key, value] = write(row);
      dl.append(element('dt', '', key), element('dd', '', value));
    }
    if (rows.length > 10) dl.append(element('dt', '', 'and ' + (rows.length - 10) + ' more'), element('dd', '', ''));
    box.append(dl);
    return box;
  }

  const named = ([name, n]) => [code.names[name], group(n)];

  // shown is what is known of the code below a frame.
  function shown(n) {
    const of = n.ref, openers = below(of), value = i => sum(openers.map(x => x.values[i]));
    panel.hidden = !n.id;
    if (!n.id) return;
    const head = element('h3', '', of.whole || of.name);
    if (of.place) head.append(element('span', '', of.place));
    const figures = [['opened', group(value(2))], ['closed', group(value(4))], ['failed', group(value(3))], ['still open', group(value(1))],
      ['kernel memory', size(value(0))]];
    const columns = element('div', 'columns');
    const lived = openers.filter(o => o.lifetime);
    const more = openers.length === 1 && openers[0].stack ? [['stack', openers[0].stack]] : [];
    const parts = [list('Connections', [...figures, ...more], r => r),
      list('Lifetime of the closed', lived, o => [openers.length === 1 ? 'p50, p90, p99' : o.who + ': ' + o.path, o.lifetime.join(', ')]),
      list('Idle, still open', openers.filter(o => o.idle), o => [openers.length === 1 ? 'for' : o.who + ': ' + o.path, o.idle]),
      list('States, still open', add(openers.map(o => o.states)), named),
      list('Peers, still open', add(openers.map(o => o.peers)), named),
      list('Errors', add(openers.map(o => o.errors)), named),
      list('Kernel objects, still open', add(openers.map(o => o.objects)), ([t, c, , v]) => [code.names[t] + (c ? ' (' + code.names[c] + ')' : ''), size(v)])];
    columns.append(...parts.filter(Boolean));
    panel.replaceChildren(head, columns);
  }

  function choose(i) {
    measure = i;
    buttons.forEach((b, k) => b.setAttribute('aria-pressed', k === i));
  }

  buttons.forEach((b, i) => b.addEventListener('click', () => {
    const kept = look.at ? look.at() : null;
    choose(i);
    rememberHash('m', i ? measures[i] : '');
    look.changed();
    if (kept) look.zoom(kept);
  }));
  for (const b of document.querySelectorAll('[data-opener]')) {
    b.addEventListener('click', () => {
      const o = code.openers[b.dataset.opener], of = nodes.find(n => n.ends.includes(o));
      if (!of) return;
      if (!o.values[measure]) buttons[[0, 1, 2, 3].find(i => o.values[i]) || 0].click();
      look.zoom(of);
      document.getElementById('flame').scrollIntoView({block: 'nearest'});
    });
  }
  choose(measure);
  look = {flame, changed: () => {}, shown};
}
