// Draws numbers by the minute as SVG lines.
//   <live-plot src="/now/numbers" keys="orders,queries" names="orders,queries" label="…" zone="Europe/Zurich">
// `src` answers [{t, key: number …}] for ?since=T (s since the epoch), for all plots of it. A hidden page asks nothing.
const SVG = "http://www.w3.org/2000/svg", EVERY = 15, LEAST = 900, MOST = 6 * 3600; // seconds
const feeds = new Map();

class Feed {
  constructor(src) {
    Object.assign(this, { src, points: [], plots: new Set(), due: 0 });
    setInterval(() => this.ask(), 1000);
  }
  async ask() {
    if (document.hidden || this.plots.size === 0 || performance.now() < this.due) return;
    this.due = performance.now() + EVERY * 1000;
    const answer = await fetch(`${this.src}?since=${this.points.at(-1)?.t ?? 0}`).catch(() => undefined);
    if (!answer?.ok || answer.redirected) return;
    const newer = await answer.json();
    if (newer.length === 0 && this.points.length > 0) return;
    const from = (newer.at(-1)?.t ?? 0) - MOST;
    this.points = [...this.points.filter((point) => point.t < (newer[0]?.t ?? Infinity)), ...newer].filter((point) => point.t >= from);
    for (const plot of this.plots) plot.paint();
  }
}

const draw = (name, values, text) => {
  const made = document.createElementNS(SVG, name);
  for (const key in values) made.setAttribute(key, values[key]);
  if (text !== undefined) made.textContent = text;
  return made;
};

customElements.define("live-plot", class extends HTMLElement {
  connectedCallback() {
    const src = this.getAttribute("src"), language = document.documentElement.lang;
    if (!feeds.has(src)) feeds.set(src, new Feed(src));
    this.feed = feeds.get(src);
    this.keys = this.getAttribute("keys").split(",");
    this.names = this.getAttribute("names").split(",");
    this.clock = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit", hour12: false, timeZone: this.getAttribute("zone") || undefined });
    this.number = new Intl.NumberFormat(language, { maximumFractionDigits: 0 });
    this.svg = draw("svg", { class: "plot", role: "img", "aria-label": this.getAttribute("label") });
    this.legend = Object.assign(document.createElement("p"), { className: "legend" });
    this.resize = new ResizeObserver(() => this.paint());
    this.resize.observe(this);
    this.svg.addEventListener("pointermove", (event) => { this.hover = event.offsetX; this.paint(); });
    this.svg.addEventListener("pointerleave", () => { this.hover = undefined; this.paint(); });
    this.feed.plots.add(this);
    this.feed.due = 0;
    this.feed.ask();
  }

  disconnectedCallback() {
    this.feed.plots.delete(this);
    this.resize.disconnect();
  }

  paint() {
    const points = this.feed.points;
    if (points.length === 0 || this.clientWidth === 0) return;
    if (!this.svg.isConnected) this.replaceChildren(this.legend, this.svg);
    const width = this.clientWidth, height = 150, left = 42, right = 8, bottom = 22, top = 8;
    const last = points.at(-1).t, span = Math.min(MOST, Math.max(LEAST, last - points[0].t)), from = last - span;
    const most = Math.max(1, ...points.flatMap((point) => this.keys.map((key) => point[key])));
    const rough = most / 3, power = 10 ** Math.floor(Math.log10(rough));
    const step = Math.max(1, [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough)), high = Math.ceil(most / step) * step;
    const x = (t) => left + (t - from) / span * (width - left - right), y = (value) => height - bottom - value / high * (height - bottom - top);
    const parts = [];
    for (let value = 0; value <= high; value += step) {
      parts.push(draw("line", { class: "grid", x1: left, x2: width - right, y1: y(value), y2: y(value) }));
      parts.push(draw("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, this.number.format(value)));
    }
    const hours = width < 420 ? 2 : 1, every = hours * (span > 7200 ? 3600 : span > 3600 ? 900 : 300);
    for (let t = Math.ceil(from / every) * every; t <= last; t += every) {
      if (x(t) > left + 12 && x(t) < width - 18) parts.push(draw("text", { x: x(t), y: height - 4, "text-anchor": "middle" }, this.clock.format(t * 1000)));
    }
    this.keys.forEach((key, place) => parts.push(draw("polyline", { class: `line series-${place + 1}`, points: points.map((point) => `${x(point.t).toFixed(1)},${y(point[key]).toFixed(1)}`).join(" ") })));
    const far = (point) => Math.abs(x(point.t) - this.hover);
    const shown = this.hover === undefined ? points.at(-1) : points.reduce((best, point) => far(point) < far(best) ? point : best);
    if (this.hover !== undefined) parts.push(draw("line", { class: "cursor", x1: x(shown.t), x2: x(shown.t), y1: top, y2: height - bottom }));
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.replaceChildren(...parts);
    const time = Object.assign(document.createElement("time"), { textContent: this.clock.format(shown.t * 1000) });
    this.legend.replaceChildren(...this.keys.map((key, place) => {
      const entry = document.createElement("span"), dot = document.createElement("i"), value = document.createElement("b");
      dot.className = `dot series-${place + 1}`;
      value.textContent = this.number.format(shown[key]);
      entry.append(dot, `${this.names[place]} `, value);
      return entry;
    }), time);
  }
});
