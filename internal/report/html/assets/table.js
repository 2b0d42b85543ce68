// Tables that the reader sorts by a click on a title, and searches.
for (const table of document.querySelectorAll('table.sortable')) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  const value = (row, i) => {
    const cell = row.cells[i];
    return cell.dataset.v === undefined ? cell.textContent : cell.dataset.v === '' ? -1 : Number(cell.dataset.v);
  };

  function sort(i, down) {
    const rows = [...body.rows];
    rows.sort((a, b) => {
      const x = value(a, i), y = value(b, i);
      return (typeof x === 'number' ? x - y : x.localeCompare(y, 'en')) * (down ? -1 : 1);
    });
    body.append(...rows);
    heads.forEach((h, k) => h.setAttribute('aria-sort', k !== i ? 'none' : down ? 'descending' : 'ascending'));
  }

  heads.forEach((head, i) => {
    if (!head.textContent) return;
    const button = element('button', 'sort', head.textContent);
    button.type = 'button';
    button.onclick = () => {
      const figures = body.rows.length > 0 && body.rows[0].cells[i].dataset.v !== undefined;
      const before = head.getAttribute('aria-sort');
      sort(i, before === 'descending' ? false : before === 'ascending' ? true : figures);
    };
    head.replaceChildren(button);
  });

  const input = document.getElementById(table.dataset.search);
  const found = document.getElementById(table.dataset.found);
  if (!input) continue;
  input.addEventListener('input', () => {
    const text = input.value.toLowerCase();
    let n = 0;
    for (const row of body.rows) {
      row.hidden = !row.textContent.toLowerCase().includes(text);
      if (!row.hidden) n++;
    }
    found.textContent = text ? group(n) + ' of ' + group(body.rows.length) : '';
    found.className = text && !n ? 'warn' : '';
  });
}
