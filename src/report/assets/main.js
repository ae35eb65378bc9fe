// Puts the timeline together: filters, buttons, keys, what is under the pointer, and the other pictures.

const SHOWN_IN_TABLE = 200;

class Timeline {
  constructor(root, ops, url) {
    this.root = root;
    this.whole = ops;
    this.url = url;
    this.view = new View(ops.header.length);
    this.lanes = new Lanes(root.querySelector("canvas.lanes"), this.view);
    this.part = (name) => root.querySelector(`[data-part="${name}"]`);
    this.selection = new Selection();
    this.plots = [...document.querySelectorAll("svg.plot[data-zooms]")].map((svg) => new Plot(svg, this.view));
    const raw = document.querySelector(".plot-box.raw");
    this.latencies = raw ? new Latencies(raw, this.lanes) : null;
    this.fillFilters();
    this.take(ops);
    this.listen();
    this.follow();
    root.dataset.ready = "true";
  }

  fillFilters() {
    const { functions, keys } = this.whole.header;
    for (const f of [...functions].sort()) this.part("f").append(new Option(f, f));
    const list = this.root.querySelector("datalist");
    for (const key of keys.slice(0, 1000)) list.append(new Option(key));
    this.part("next-violation").disabled = this.whole.header.marks.length === 0;
  }

  /** Shows these operations from now on, those that pass the filters. */
  take(ops) {
    this.ops = ops;
    this.filter();
  }

  filter() {
    const ops = this.ops;
    const wanted = this.wanted();
    const key = wanted.key === "" ? -1 : ops.header.keys.indexOf(wanted.key) + 1;
    const f = wanted.f === "" ? -1 : ops.header.functions.indexOf(wanted.f);
    const process = wanted.process === "" ? null : Number(wanted.process);
    const shown = new Uint8Array(ops.n);
    let count = 0;
    for (let i = 0; i < ops.n; i++) {
      const fits =
        (wanted.outcomes >> ops.outcome[i]) & 1 &&
        (key === -1 || (key > 0 && ops.key[i] === key)) &&
        (wanted.f === "" || ops.f[i] === f) &&
        (process === null || ops.header.processes[ops.process[i]][0] === process);
      if (fits) {
        shown[i] = 1;
        count++;
      }
    }
    this.shown = shown;
    this.lanes.take(ops, shown);
    if (this.lanes.selected >= ops.n) this.lanes.selected = -1;
    const all = this.ops.header;
    const left = all.total - all.carried;
    this.part("count").textContent =
      `${count.toLocaleString("en")} of ${this.whole.header.total.toLocaleString("en")} operations` +
      (left > 0 ? `; ${left.toLocaleString("en")} ${this.part("count").dataset.left}` : "");
    this.view.changed();
  }

  wanted() {
    const outcomes = ["ok", "failed", "unknown"].reduce((bits, name, bit) => bits | (this.part(name).checked << bit), 0);
    return { key: this.part("key").value.trim(), f: this.part("f").value, process: this.part("process").value.trim(), outcomes };
  }

  listen() {
    this.view.watch(() => this.draw());
    new ResizeObserver(() => this.view.changed()).observe(this.root);
    for (const name of ["key", "f", "process", "ok", "failed", "unknown"]) {
      this.part(name).addEventListener("input", () => (this.url ? this.fetchSoon() : this.filter()));
    }
    this.part("filters").addEventListener("submit", (event) => event.preventDefault());
    const press = {
      all: () => this.view.all(),
      in: () => this.view.zoom(0.5, 0.5),
      out: () => this.view.zoom(2, 0.5),
      left: () => this.view.pan(-0.4),
      right: () => this.view.pan(0.4),
      "next-violation": () => this.nextMark(),
      "next-failed": () => this.next((i) => this.ops.outcome[i] === 1),
      "next-unknown": () => this.next((i) => this.ops.outcome[i] === 2),
    };
    for (const [name, act] of Object.entries(press)) this.part(name).addEventListener("click", act);
    const canvas = this.lanes.canvas;
    for (const element of [canvas, ...this.plots.map((plot) => plot.svg)]) control(element, this.view, this.selection);
    canvas.addEventListener("pointermove", (event) => this.hover(event));
    canvas.addEventListener("pointerleave", () => (this.part("hint").hidden = true));
    canvas.addEventListener("click", (event) => this.choose(event));
    canvas.addEventListener("keydown", (event) => this.key(event));
    this.part("table").addEventListener("toggle", () => this.table());
    window.addEventListener("hashchange", () => this.follow());
  }

  /** Draws the stretch in view: where there is much of it, first a part, and all of it when it has come to rest. */
  draw() {
    clearTimeout(this.resting);
    this.picture(true);
    if (this.lanes.isMuch) this.resting = setTimeout(() => this.picture(false), 150);
    this.table();
    if (this.url) this.fetchSoon();
  }

  picture(moves) {
    this.lanes.moves = moves;
    this.lanes.draw();
    for (const plot of this.plots) plot.draw();
    if (this.latencies) this.latencies.draw();
    this.part("span").textContent = `${seconds(this.view.from, 6)} to ${seconds(this.view.to, 6)}`;
  }

  key(event) {
    const acts = {
      ArrowLeft: () => this.view.pan(-0.2),
      ArrowRight: () => this.view.pan(0.2),
      "+": () => this.view.zoom(0.5, 0.5),
      "=": () => this.view.zoom(0.5, 0.5),
      "-": () => this.view.zoom(2, 0.5),
      Home: () => this.view.all(),
      "0": () => this.view.all(),
      n: () => this.step(1),
      p: () => this.step(-1),
      e: () => this.nextMark(),
      f: () => this.next((i) => this.ops.outcome[i] === 1),
      u: () => this.next((i) => this.ops.outcome[i] === 2),
    };
    const act = acts[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    act();
    event.preventDefault();
  }

  /** Goes to the next (or the last) operation that is shown, of those that `fits`. */
  next(fits, by = 1) {
    const n = this.ops.n;
    const middle = (this.view.from + this.view.to) / 2;
    let i = this.lanes.selected >= 0 ? this.lanes.selected + by : lowerBound(this.ops.start, middle);
    for (let tried = 0; tried < n; tried++, i += by) {
      const at = ((i % n) + n) % n;
      if (this.shown[at] && fits(at)) return this.show([at], at);
    }
    this.say([["nothing", "no such operation is shown"]]);
  }

  step(by) {
    this.next(() => true, by);
  }

  nextMark() {
    const marks = this.ops.header.marks;
    if (marks.length === 0) return;
    this.markAt = this.markAt === undefined ? 0 : (this.markAt + 1) % marks.length;
    this.showMark(this.markAt);
  }

  showMark(at) {
    const mark = this.ops.header.marks[at];
    if (!mark || mark.operations.length === 0) return;
    this.markAt = at;
    this.show(mark.operations, this.lanes.markedOperation(mark));
    this.say([["violation", mark.title], ...factsOf(this.ops, this.lanes.selected)]);
  }

  /** Moves the stretch so that these operations can be read, and selects one. */
  show(operations, selected) {
    const start = Math.min(...operations.map((i) => this.ops.start[i]));
    const end = Math.max(...operations.map((i) => this.ops.start[i] + this.ops.duration[i]));
    const margin = Math.max((end - start) * 0.15, 200, operations.length === 1 ? (end - start) * 4 : 0);
    this.lanes.selected = selected;
    this.view.set(start - margin, end + margin);
    this.say(factsOf(this.ops, selected));
  }

  /** What a link into the timeline asks for: a violation, or a stretch of time in seconds. */
  follow() {
    const mark = /^#violation-(\d+)$/.exec(location.hash);
    const stretch = /^#t=([\d.]+)-([\d.]+)$/.exec(location.hash);
    if (mark) this.showMark(Number(mark[1]) - 1);
    if (stretch) this.view.set(Number(stretch[1]) * 1e6, Number(stretch[2]) * 1e6);
    if (mark || stretch) this.root.scrollIntoView();
  }

  pointed(event) {
    const box = this.lanes.canvas.getBoundingClientRect();
    return this.lanes.at(event.clientX - box.left, event.clientY - box.top);
  }

  facts(found) {
    if (found.mark !== undefined) return [["violation", this.ops.header.marks[found.mark].title]];
    if (!found.band) return factsOf(this.ops, found.operation);
    const { fault, what, from, to, effective } = found.band;
    const times = `${from.toFixed(3)} s to ${to.toFixed(3)} s`;
    return [["fault", fault], ["on", what], ["in force", times], ["proved to take effect", effective ? "yes" : "no"]];
  }

  hover(event) {
    const hint = this.part("hint");
    const found = event.buttons === 0 ? this.pointed(event) : null;
    hint.hidden = !found;
    if (!found) return;
    hint.replaceChildren(...this.list(this.facts(found)));
    const beyond = event.clientX + 24 + hint.offsetWidth > window.innerWidth;
    hint.style.left = `${beyond ? Math.max(event.clientX - hint.offsetWidth - 14, 4) : event.clientX + 14}px`;
    hint.style.top = `${Math.min(event.clientY + 14, window.innerHeight - hint.offsetHeight - 4)}px`;
  }

  choose(event) {
    const found = this.pointed(event);
    if (!found) return;
    if (found.mark !== undefined) return this.showMark(found.mark);
    this.lanes.selected = found.operation === undefined ? -1 : found.operation;
    this.say(this.facts(found));
    this.view.changed();
  }

  say(facts) {
    this.part("detail").replaceChildren(...this.list(facts));
  }

  list(facts) {
    return facts.flatMap(([name, value]) => {
      const term = document.createElement("dt");
      term.textContent = name;
      const description = document.createElement("dd");
      description.textContent = value;
      return [term, description];
    });
  }

  /** The operations in view for those who do not see pictures, if the table is open. */
  table() {
    const table = this.part("table");
    if (!table.open) return;
    const rows = [];
    const [first, last] = this.lanes.range();
    let count = 0;
    for (let i = first; i < last; i++) {
      if (!this.shown[i] || this.ops.start[i] + this.ops.duration[i] < this.view.from) continue;
      count++;
      if (rows.length >= SHOWN_IN_TABLE) continue;
      const row = document.createElement("tr");
      const { header } = this.ops;
      const end = this.ops.complete[i] ? span(this.ops.duration[i]) : "never ended";
      const cells = [
        this.ops.invoke[i], seconds(this.ops.start[i], 6), header.processes[this.ops.process[i]][0],
        this.ops.key[i] ? header.keys[this.ops.key[i] - 1] : "", labelOf(this.ops, i), OUTCOMES[this.ops.outcome[i]], end,
      ];
      for (const cell of cells) row.insertCell().textContent = String(cell);
      rows.push(row);
    }
    table.querySelector("tbody").replaceChildren(...rows);
    const more = count > rows.length ? `The first ${rows.length} of ${count.toLocaleString("en")} operations in view.` : "";
    this.part("more").textContent = more;
  }

  /** From a server: asks for the stretch in view once it has come to rest, where what is at hand leaves something out. */
  fetchSoon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.fetchNow(), 120);
  }

  async fetchNow() {
    const { from, to, length } = this.view;
    const margin = (to - from) / 2;
    const stretch = { from: Math.max(0, Math.floor(from - margin)), to: Math.min(length, Math.ceil(to + margin)) };
    const wanted = this.wanted();
    const asked = JSON.stringify(wanted);
    const { header } = this.ops;
    const covers = header.from <= from && header.to >= to;
    const enough = covers && (header.carried === header.total || (header.to - header.from) <= 2.2 * (to - from));
    if (asked === this.asked && enough) return;
    this.asked = asked;
    try {
      const ops = await fetched(this.url, { ...stretch, ...wanted });
      const selected = this.lanes.selected >= 0 ? this.ops.invoke[this.lanes.selected] : -1;
      this.lanes.selected = selected >= 0 ? ofEvent(ops, selected) : -1;
      this.take(ops);
    } catch (error) {
      this.part("count").textContent = String(error.message);
    }
  }
}

(async () => {
  const root = document.getElementById("timeline");
  if (!root) return;
  document.documentElement.classList.add("scripted");
  try {
    const url = root.dataset.url;
    const ops = url ? await fetched(url, {}) : await embedded(document.getElementById("operations"));
    window.timeline = new Timeline(root, ops, url);
  } catch (error) {
    root.querySelector('[data-part="count"]').textContent = `The timeline cannot be drawn: ${error.message}`;
  }
})();
