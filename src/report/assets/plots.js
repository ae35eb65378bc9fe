// The pictures below the timeline show the same stretch of time: they are SVG whose inside is stretched, but for the
// latency of each operation, which is drawn anew from the operations.

const SVG = "http://www.w3.org/2000/svg";

/** An SVG picture with time as its x-axis. */
class Plot {
  constructor(svg, view) {
    this.svg = svg;
    this.view = view;
    this.inner = svg.querySelector("svg.inner");
    this.ticks = svg.querySelector("g.ticks");
  }

  draw() {
    const { from, to } = this.view;
    this.inner.setAttribute("viewBox", `${from / 1e6} 0 ${(to - from) / 1e6} 1000`);
    const { ticks, digits } = ticksOf(from, to);
    const bottom = Number(this.svg.dataset.bottom);
    this.ticks.replaceChildren(
      ...ticks.flatMap((tick) => {
        const x = LEFT + ((WIDTH - LEFT - RIGHT) * (tick * 1e6 - from)) / (to - from);
        const line = document.createElementNS(SVG, "line");
        for (const [name, value] of [["class", "grid"], ["x1", x], ["x2", x], ["y1", this.svg.dataset.top], ["y2", bottom]]) {
          line.setAttribute(name, value);
        }
        const text = document.createElementNS(SVG, "text");
        for (const [name, value] of [["class", "tick"], ["x", x], ["y", bottom + 15], ["text-anchor", "middle"]]) {
          text.setAttribute(name, value);
        }
        text.textContent = tick.toFixed(digits);
        return [line, text];
      }),
    );
  }
}

/** The latency of each operation, over the SVG picture of it. */
class Latencies {
  constructor(box, lanes) {
    this.svg = box.querySelector("svg.plot");
    this.lanes = lanes;
    this.canvas = document.createElement("canvas");
    this.canvas.className = "over";
    this.canvas.setAttribute("aria-hidden", "true");
    box.append(this.canvas);
    box.classList.add("drawn");
  }

  draw() {
    const ops = this.lanes.ops;
    if (!ops) return;
    const { low, high, top, bottom } = this.svg.dataset;
    const box = this.svg.getBoundingClientRect();
    const unit = box.width / WIDTH;
    const frame = frameOf(this.svg);
    const ratio = window.devicePixelRatio || 1;
    const style = this.canvas.style;
    style.left = `${frame.left}px`;
    style.top = `${top * unit}px`;
    style.width = `${frame.width}px`;
    style.height = `${(bottom - top) * unit}px`;
    const width = (this.canvas.width = Math.max(1, Math.round(frame.width * ratio)));
    const height = (this.canvas.height = Math.max(1, Math.round((bottom - top) * unit * ratio)));
    const { from, to } = this.lanes.view;
    const scale = width / (to - from);
    const rows = height / (high - low);
    const context = this.canvas.getContext("2d");
    // Pixels are set and not drawn: there may be very many of them.
    const image = context.createImageData(width, height);
    const pixels = new Uint32Array(image.data.buffer);
    const seen = new Uint8Array(width * height);
    const colours = this.lanes.colours.kinds.map(pixelOf);
    const marked = [];
    const dot = Math.max(2, Math.round(2 * ratio));
    this.lanes.each((i) => {
      if (!ops.complete[i] || ops.start[i] < from || ops.start[i] > to) return;
      const x = Math.min(width - 1, Math.floor((ops.start[i] - from) * scale));
      const level = (ops.level[i] - low) * rows;
      const y = Math.max(0, Math.min(height - 1, Math.floor(height - level)));
      const kind = ops.kind[i];
      // What covers the same pixels is drawn once.
      const at = (y & ~1) * width + (x & ~1);
      if (seen[at] > kind) return;
      seen[at] = kind + 1;
      if (kind > 2) marked.push([kind, x, y]);
      const [right, lower] = [Math.min(x + dot, width), Math.min(y + dot, height)];
      for (let row = y; row < lower; row++) pixels.fill(colours[kind], row * width + x, row * width + right);
    });
    context.putImageData(image, 0, 0);
    // What shows a violation is to be seen.
    for (const [kind, x, y] of marked.sort((one, other) => one[0] - other[0])) {
      context.fillStyle = this.lanes.colours.kinds[kind];
      context.fillRect(x - dot, y - dot, dot * 2, dot * 2);
    }
  }
}

/** A colour `#rrggbb` as the four bytes of a pixel, on a machine whose lowest byte comes first, as all are that have browsers. */
function pixelOf(colour) {
  const number = parseInt(colour.slice(1), 16);
  return (0xff000000 | ((number & 0xff) << 16) | (number & 0xff00) | (number >> 16)) >>> 0;
}
