// What the icicle of a look at a host is made from: groups, divided by the levels that the reader chooses.
let look = null;

if (document.getElementById('look-data')) {
  const held = JSON.parse(document.getElementById('look-data').textContent);
  const OBJECT = 'object', FRAME = 2, LEAF = 3;
  const selects = [...document.querySelectorAll('.levels select')];
  const known = [...held.levels, OBJECT];
  const usual = ['owner', 'state', OBJECT];

  // levels are those chosen, each once, in the order of the selects.
  function levels() {
    const chosen = selects.map(s => s.value).filter((v, i, all) => known.includes(v) && all.indexOf(v) === i);
    return chosen.length ? chosen : usual;
  }

  function choose(list) {
    selects.forEach((s, i) => { s.value = list[i] || ''; });
  }

  // portions are a group's bytes by object and by queue; each is rounded so that they add up to the whole.
  function portions(group, at) {
    const [composition, , , slab, receive, send, other] = group.slice(at);
    const list = [], parts = held.compositions[composition] || [];
    let total = 0, sum = 0, given = 0;
    for (let i = 0; i < parts.length; i += 4) total += parts[i + 3];
    for (let i = 0; total && i < parts.length; i += 4) {
      sum += parts[i + 3];
      const due = Math.round(sum / total * slab);
      list.push([held.names[parts[i]], held.names[parts[i + 1]], LEAF + parts[i + 2], due - given]);
      given = due;
    }
    const rest = LEAF + held.categories.indexOf('other');
    list.push(['objects', '', rest, slab - given], ['receive queue', '', rest, receive], ['send queue', '', rest, send],
      ['socket options', '', rest, other]);
    return list.filter(p => p[3] > 0);
  }

  const fresh = (name, kind, cache) => ({name, kind, cache, bytes: 0, old: 0, width: 0, count: 0, kids: new Map()});

  function kid(node, name, kind, cache) {
    const key = name + '\n' + cache;
    if (!node.kids.has(key)) node.kids.set(key, fresh(name, kind, cache));
    return node.kids.get(key);
  }

  // add lays one portion of a group on its way from the root.
  function add(root, way, bytes, old, sockets) {
    let node = root;
    const book = () => {
      if (old) node.old += bytes; else { node.bytes += bytes; node.count += sockets; }
    };
    book();
    for (const [name, kind, cache] of way) {
      node = kid(node, name, kind, cache);
      book();
    }
  }

  function tree(chosen) {
    const root = fresh('all', 0, ''), at = held.levels.length, object = chosen.indexOf(OBJECT);
    for (const group of held.groups) {
      const way = chosen.map(l => [held.names[group[held.levels.indexOf(l)]], FRAME, '']);
      const old = group[at + 1] === 1;
      let sockets = group[at + 2];
      const list = object < 0 ? [[null, null, null, portions(group, at).reduce((sum, p) => sum + p[3], 0)]] : portions(group, at);
      for (const [name, cache, kind, bytes] of list) {
        if (object >= 0) way[object] = [name, kind, cache];
        add(root, way, bytes, old, sockets);
        if (object >= 0) sockets = 0; // a socket counts once, however many objects it has
      }
    }
    return root;
  }

  // widen makes a frame as wide as what is under it, and a leaf as wide as the larger of old and new.
  function widen(node) {
    const kids = [...node.kids.values()];
    node.width = kids.length ? kids.reduce((sum, k) => sum + widen(k), 0) : Math.max(node.bytes, node.old);
    node.kids = kids.sort((a, b) => b.width - a.width || (a.name < b.name ? -1 : 1));
    return node.width;
  }

  // flame is the tree as the flame graph reads it.
  function flame() {
    const root = tree(levels()), names = [''], index = new Map([['', 0]]), nodes = [];
    const at = name => {
      if (!index.has(name)) { index.set(name, names.length); names.push(name); }
      return index.get(name);
    };
    widen(root);
    const visit = (n, depth) => {
      nodes.push(at(n.name), depth, n.width, n.count, n.kind, at(n.cache));
      if (held.diff) nodes.push(n.bytes, n.old);
      for (const k of n.kids) visit(k, depth + 1);
    };
    visit(root, 0);
    return {names, nodes, stride: held.diff ? 8 : 6, endpoints: {}, diff: held.diff, categories: held.categories, look: true};
  }

  look = {flame, changed: () => {}};
  const asked = (hash.get('l') || '').split(',').filter(l => known.includes(l));
  choose(asked.length ? asked : usual);
  for (const s of selects) {
    s.addEventListener('change', () => {
      rememberHash('l', levels().join() === usual.join() ? '' : levels().join());
      look.changed();
    });
  }
}
