// The timeline: every operation as a bar in its process's lane, faults above.

const FAULT_ROW = 14;
const AXIS = 22;
/** Operations that are looked at for a picture while it moves; when it rests, all are. */
const MOVING = 30_000;

/** The colours of the page, as they are now (light or dark). */
function palette() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(`--${name}`).trim();
  return {
    ink: of("ink"), soft: of("soft"), rule: of("rule"), panel: of("panel"), paper: of("paper"),
    // By how much it matters: what did not end well lies on top of what did.
    kinds: [of("ok"), of("fail"), of("info"), of("guilty"), of("bad")],
    fault: (name) => of(name) || of("fault-other"),
  };
}

class Lanes {
  constructor(canvas, view) {
    this.canvas = canvas;
    this.view = view;
    this.ops = null;
    this.shown = null;
    this.selected = -1;
    this.colours = palette();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.colours = palette();
      view.changed();
    });
  }

  /** Draws these operations from now on; `shown` says which. */
  take(ops, shown) {
    this.ops = ops;
    this.shown = shown;
    const bands = ops.header.bands;
    this.faults = [...new Set(bands.map((band) => band.fault))];
    this.rows = this.faults.length + (ops.header.marks.length > 0 ? 1 : 0);
    this.top = this.rows * FAULT_ROW + 6;
    const lanes = Math.max(ops.header.lanes, 1);
    this.lane = Math.max(6, Math.min(26, Math.floor(520 / lanes)));
    this.height = this.top + lanes * this.lane + AXIS;
    this.first = new Map();
    ops.header.processes.forEach(([process, lane]) => {
      const before = this.first.get(lane);
      if (before === undefined || process < before) this.first.set(lane, process);
    });
  }

  /** The operations that may be seen: those that begin in the stretch, and those that reach into it. */
  range() {
    const { from, to } = this.view;
    return [lowerBound(this.ops.start, from - this.ops.longest), lowerBound(this.ops.start, to + 1)];
  }

  /** Visits the operations that may be seen and are shown. While the picture moves and there are many, only every so manieth of each kind. */
  each(visit) {
    const [first, last] = this.range();
    const step = this.moves ? Math.ceil((last - first) / MOVING) : 1;
    for (let i = first; i < last; i += step) if (this.shown[i]) visit(i);
    if (step === 1) return;
    const { rare } = this.ops;
    const [from, to] = [lowerBound(rare, first), lowerBound(rare, last)];
    const stride = Math.ceil((to - from) / MOVING);
    for (let at = from; at < to; at += stride) if (this.shown[rare[at]]) visit(rare[at]);
  }

  /** Whether a picture of all that may be seen takes longer than a frame may. */
  get isMuch() {
    const [first, last] = this.range();
    return last - first > MOVING;
  }

  draw() {
    if (!this.ops) return;
    const box = this.canvas.parentElement.clientWidth;
    const ratio = window.devicePixelRatio || 1;
    this.canvas.style.height = `${this.height}px`;
    this.canvas.width = Math.round(box * ratio);
    this.canvas.height = Math.round(this.height * ratio);
    const context = this.canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, box, this.height);
    const frame = frameOf(this.canvas);
    const scale = frame.width / (this.view.to - this.view.from);
    this.x = (us) => frame.left + (us - this.view.from) * scale;
    this.frame = frame;
    this.scale = scale;
    context.font = "11px system-ui, sans-serif";
    context.textBaseline = "middle";
    this.drawFaults(context);
    this.drawGrid(context, box);
    context.save();
    context.beginPath();
    context.rect(frame.left, 0, frame.width, this.height - AXIS);
    context.clip();
    this.drawOperations(context);
    context.restore();
  }

  drawFaults(context) {
    const { left, width } = this.frame;
    const right = left + width;
    for (const band of this.ops.header.bands) {
      const row = this.faults.indexOf(band.fault);
      const from = Math.max(left, this.x(band.from * 1e6));
      const to = Math.min(right, Math.max(this.x(band.to * 1e6), from + 1));
      if (to < left || from > right) continue;
      context.fillStyle = this.colours.fault(band.class);
      context.globalAlpha = 0.16;
      context.fillRect(from, this.top, to - from, this.height - AXIS - this.top);
      context.globalAlpha = band.effective ? 0.95 : 0.4;
      context.fillRect(from, row * FAULT_ROW + 2, to - from, FAULT_ROW - 3);
      context.globalAlpha = 1;
      if (to - from > 40) this.text(context, band.what, from + 4, row * FAULT_ROW + FAULT_ROW / 2 + 1, to - from - 6, "#0b0e11");
    }
    context.textAlign = "right";
    context.fillStyle = this.colours.soft;
    this.faults.forEach((fault, row) => context.fillText(fault, left - 6, row * FAULT_ROW + FAULT_ROW / 2 + 1, left - 8));
    if (this.rows > this.faults.length) this.drawMarks(context);
    context.textAlign = "left";
  }

  /** A triangle for each violation, where the operation is that cannot be explained, or the last of those that show it. */
  drawMarks(context) {
    const { left, width } = this.frame;
    const y = this.faults.length * FAULT_ROW;
    context.fillText("violations", left - 6, y + FAULT_ROW / 2 + 1, left - 8);
    context.fillStyle = this.colours.kinds[4];
    for (const mark of this.ops.header.marks) {
      const at = this.markedOperation(mark);
      if (at < 0) continue;
      const x = this.x(this.ops.start[at]);
      if (x < left - 1 || x > left + width + 1) continue;
      context.beginPath();
      context.moveTo(x - 5, y + 3);
      context.lineTo(x + 5, y + 3);
      context.lineTo(x, y + FAULT_ROW);
      context.fill();
    }
  }

  /** Where a violation is: the operation that cannot be explained, or the last of those that show it; -1 if none is here. */
  markedOperation(mark) {
    const culprit = mark.operations.find((i) => this.ops.guilty[i] === 2);
    return culprit === undefined ? (mark.operations.at(-1) ?? -1) : culprit;
  }

  drawGrid(context, box) {
    const { left, width } = this.frame;
    const bottom = this.height - AXIS;
    const { ticks, digits } = ticksOf(this.view.from, this.view.to);
    context.strokeStyle = this.colours.rule;
    context.fillStyle = this.colours.soft;
    context.lineWidth = 1;
    context.beginPath();
    for (let lane = 0; lane <= Math.max(this.ops.header.lanes, 1); lane++) {
      const y = Math.round(this.top + lane * this.lane) + 0.5;
      context.moveTo(left, y);
      context.lineTo(left + width, y);
    }
    context.textAlign = "center";
    for (const tick of ticks) {
      const x = Math.round(this.x(tick * 1e6)) + 0.5;
      context.moveTo(x, this.top);
      context.lineTo(x, bottom + 4);
      const half = 24;
      context.fillText(`${tick.toFixed(digits)} s`, Math.min(Math.max(x, left + half), box - half), bottom + 14);
    }
    context.stroke();
    context.textAlign = "right";
    const every = Math.ceil(11 / this.lane);
    for (const [lane, process] of this.first) {
      if (lane % every === 0) context.fillText(String(process), left - 6, this.top + (lane + 0.5) * this.lane);
    }
    context.textAlign = "left";
  }

  /** Bars of a pixel or more are drawn one by one; what is narrower is gathered, and what matters most is seen. */
  drawOperations(context) {
    const ops = this.ops;
    const { left, width } = this.frame;
    const columns = Math.ceil(width) + 1;
    const thin = new Uint8Array(columns * Math.max(ops.header.lanes, 1));
    const wide = [[], [], [], [], []];
    const { from, to } = this.view;
    this.each((i) => {
      const start = ops.start[i];
      const duration = ops.duration[i];
      if (start + duration < from || start > to) return;
      const pixels = duration * this.scale;
      const kind = ops.kind[i];
      if (pixels >= 1.5) {
        wide[kind].push(i);
      } else {
        const column = Math.max(0, Math.min(columns - 1, Math.floor((start - from) * this.scale)));
        const at = ops.lane[i] * columns + column;
        if (thin[at] <= kind) thin[at] = kind + 1;
      }
    });
    const inset = this.lane > 10 ? 2 : 1;
    const height = this.lane - 2 * inset;
    for (let kind = 0; kind < 5; kind++) {
      context.fillStyle = this.colours.kinds[kind];
      for (let lane = 0; lane < ops.header.lanes; lane++) {
        const row = lane * columns;
        for (let column = 0; column < columns; column++) {
          if (thin[row + column] !== kind + 1) continue;
          let end = column + 1;
          while (end < columns && thin[row + end] === kind + 1) end++;
          context.fillRect(left + column, this.top + lane * this.lane + inset, end - column, height);
          column = end;
        }
      }
      context.globalAlpha = 0.85;
      for (const i of wide[kind]) this.bar(context, i, inset, height);
      context.globalAlpha = 1;
    }
    for (const list of wide) for (const i of list) this.label(context, i);
    if (this.selected >= 0 && this.shown[this.selected]) this.outline(context, this.selected, inset, height);
  }

  edges(i) {
    const { left, width } = this.frame;
    const from = Math.max(left - 2, this.x(this.ops.start[i]));
    const to = Math.min(left + width + 2, this.x(this.ops.start[i] + this.ops.duration[i]));
    return [from, Math.max(to, from + 1.5)];
  }

  bar(context, i, inset, height) {
    const [from, to] = this.edges(i);
    // A hair's breadth between neighbours, so that they are told apart.
    context.fillRect(from, this.top + this.ops.lane[i] * this.lane + inset, Math.max(to - from - (to - from > 4 ? 0.6 : 0), 1), height);
  }

  label(context, i) {
    const [from, to] = this.edges(i);
    if (to - from < 34 || this.lane < 12) return;
    const y = this.top + (this.ops.lane[i] + 0.5) * this.lane;
    this.text(context, labelOf(this.ops, i), Math.max(from, this.frame.left) + 4, y, to - from - 8, "#0b0e11");
  }

  outline(context, i, inset, height) {
    const [from, to] = this.edges(i);
    context.strokeStyle = this.colours.ink;
    context.lineWidth = 2;
    context.strokeRect(from - 1, this.top + this.ops.lane[i] * this.lane + inset - 1, to - from + 2, height + 2);
  }

  /** Text cut to a width. */
  text(context, text, x, y, width, colour) {
    let cut = text;
    while (cut.length > 1 && context.measureText(cut).width > width) cut = cut.slice(0, Math.floor(cut.length * 0.8));
    if (cut.length < text.length) cut = cut.length > 2 ? `${cut.slice(0, -1)}…` : "";
    context.fillStyle = colour;
    context.fillText(cut, x, y);
  }

  markAt(x) {
    const near = this.ops.header.marks.findIndex((mark) => {
      const at = this.markedOperation(mark);
      return at >= 0 && Math.abs(this.x(this.ops.start[at]) - x) <= 6;
    });
    return near >= 0 ? { mark: near } : null;
  }

  /** The operation or fault at a point of the canvas. */
  at(x, y) {
    if (!this.ops || !this.x) return null;
    if (y < this.top) {
      if (Math.floor(y / FAULT_ROW) === this.faults.length) return this.markAt(x);
      const fault = this.faults[Math.floor(y / FAULT_ROW)];
      const time = (this.view.from + (x - this.frame.left) / this.scale) / 1e6;
      const slack = 2 / this.scale / 1e6;
      const under = (band) => band.fault === fault && band.from - slack <= time && time <= band.to + slack;
      const band = this.ops.header.bands.find(under);
      return band ? { band } : null;
    }
    const lane = Math.floor((y - this.top) / this.lane);
    const [first, last] = this.range();
    let best = -1;
    let bestDistance = 4;
    for (let i = first; i < last; i++) {
      if (this.ops.lane[i] !== lane || !this.shown[i]) continue;
      const [from, to] = this.edges(i);
      const distance = Math.max(from - x, x - to, 0) - this.ops.kind[i] * 0.1;
      if (distance <= bestDistance) {
        bestDistance = distance;
        best = i;
      }
    }
    return best >= 0 ? { operation: best } : null;
  }
}
