// The crosshair runs through both panels at once: the two curves are one run. Each of two machines has its own.
{
  const sources = document.querySelectorAll('.timeline-data');
  document.querySelectorAll('.timeline').forEach((box, n) => {
    const d = JSON.parse(sources[n].textContent);
    const moment = box.querySelector('.moment');
    const plots = [...box.querySelectorAll('.plot')];
    const values = d.series || [d.established, d.growth];
    const at = (v, [low, high]) => 100 * (v - low) / (high - low);
    let current = -1;

    const show = i => {
      current = i;
      plots.forEach((plot, k) => {
        const cross = plot.querySelector('.cross');
        cross.hidden = i < 0;
        if (i < 0) return;
        cross.style.left = at(d.seconds[i], d.ranges[0]) + '%';
        cross.firstChild.style.top = 100 - at(values[k][i], d.ranges[k + 1]) + '%';
      });
      moment.textContent = i < 0 ? '\u00a0' : d.moments ? d.moments[i] :
        d.seconds[i].toFixed(2) + ' s · ' + group(d.established[i]) + ' established · slab ' +
        (d.growth[i] > 0 ? '+' : '') + size(d.growth[i]) + ' (' + size(d.slab[i]) + ')';
    };
    const nearest = s => {
      let best = 0;
      d.seconds.forEach((t, i) => { if (Math.abs(t - s) < Math.abs(d.seconds[best] - s)) best = i; });
      return best;
    };
    box.addEventListener('pointermove', e => {
      const r = plots[0].getBoundingClientRect();
      const [low, high] = d.ranges[0];
      show(nearest(low + (high - low) * (e.clientX - r.left) / r.width));
    });
    box.addEventListener('pointerleave', () => show(-1));
    box.addEventListener('blur', () => show(-1));
    box.addEventListener('keydown', e => {
      const step = {ArrowLeft: -1, ArrowRight: 1}[e.key];
      if (!step) return;
      e.preventDefault();
      show(Math.min(Math.max(current + step, 0), d.seconds.length - 1));
    });
  });
}
