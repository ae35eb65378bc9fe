// The stretch of time that all pictures show, and how it is changed: by pointer, wheel and keys.

/** The width that SVG pictures are drawn for, and their margins, which canvases share. */
const WIDTH = 960;
const LEFT = 64;
const RIGHT = 12;

class View {
  /** From 0 to `length` microseconds. */
  constructor(length) {
    this.length = Math.max(length, 1);
    this.from = 0;
    this.to = this.length;
    this.watchers = [];
    this.pending = false;
  }

  /** Calls `watcher` before the next frame after each change. */
  watch(watcher) {
    this.watchers.push(watcher);
  }

  changed() {
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => {
      this.pending = false;
      for (const watcher of this.watchers) watcher();
    });
  }

  set(from, to) {
    const width = Math.min(Math.max(to - from, 20), this.length);
    this.from = Math.min(Math.max(from, 0), this.length - width);
    this.to = this.from + width;
    this.changed();
  }

  all() {
    this.set(0, this.length);
  }

  /** Makes the stretch `factor` times as long, keeping the moment at `share` of it where it is. */
  zoom(factor, share) {
    const width = this.to - this.from;
    const fixed = this.from + width * share;
    const next = Math.min(Math.max(width * factor, 20), this.length);
    this.set(fixed - next * share, fixed + next * (1 - share));
  }

  /** Moves by `share` of the stretch. */
  pan(share) {
    const by = (this.to - this.from) * share;
    this.set(this.from + by, this.to + by);
  }
}

/** The left edge and the width of the part of a picture that has time as its x-axis, in CSS pixels. */
function frameOf(element) {
  const width = element.getBoundingClientRect().width;
  const left = (width * LEFT) / WIDTH;
  return { left, width: width - left - (width * RIGHT) / WIDTH };
}

/** Ticks for a stretch: round numbers of seconds, and with how many digits they are told apart. */
function ticksOf(from, to) {
  const least = (to - from) / 8 / 1e6;
  const power = Math.pow(10, Math.floor(Math.log10(least)));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= least * 0.999);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const ticks = [];
  for (let n = Math.ceil(from / 1e6 / step - 1e-9); n * step <= to / 1e6 + step * 1e-9; n++) ticks.push(n * step);
  return { ticks, digits };
}

/** Lets a picture be zoomed and moved: a drag selects, with shift it moves; Ctrl and the wheel zoom; a double click shows all. */
function control(element, view, selection) {
  let drag = null;
  const shareAt = (event) => {
    const box = element.getBoundingClientRect();
    const frame = frameOf(element);
    return Math.min(Math.max((event.clientX - box.left - frame.left) / frame.width, 0), 1);
  };
  element.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    drag = { share: shareAt(event), x: event.clientX, moves: event.shiftKey, from: view.from, to: view.to };
    element.setPointerCapture(event.pointerId);
  });
  element.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const share = shareAt(event);
    if (drag.moves) {
      const by = (drag.share - share) * (drag.to - drag.from);
      view.set(drag.from + by, drag.to + by);
    } else if (Math.abs(event.clientX - drag.x) > 4) {
      selection.show(element, Math.min(share, drag.share), Math.max(share, drag.share));
    }
  });
  element.addEventListener("pointerup", (event) => {
    if (!drag) return;
    const [low, high] = [drag.share, shareAt(event)].sort((a, b) => a - b);
    if (!drag.moves && Math.abs(event.clientX - drag.x) > 4) {
      const width = view.to - view.from;
      view.set(view.from + low * width, view.from + high * width);
    }
    drag = null;
    selection.hide();
  });
  element.addEventListener("pointercancel", () => {
    drag = null;
    selection.hide();
  });
  element.addEventListener("dblclick", () => view.all());
  const wheel = (event) => {
    const sideways = event.shiftKey ? event.deltaY || event.deltaX : event.deltaX;
    if (event.ctrlKey || event.metaKey || event.altKey) {
      view.zoom(Math.exp(event.deltaY * 0.002), shareAt(event));
    } else if (Math.abs(sideways) > Math.abs(event.shiftKey ? 0 : event.deltaY)) {
      view.pan(sideways / 800);
    } else {
      return;
    }
    event.preventDefault();
  };
  element.addEventListener("wheel", wheel, { passive: false });
}

/** What a drag has selected so far, over whichever picture it is. */
class Selection {
  constructor() {
    this.element = document.createElement("div");
    this.element.className = "selection";
    this.element.hidden = true;
    document.body.append(this.element);
  }

  show(over, low, high) {
    const box = over.getBoundingClientRect();
    const frame = frameOf(over);
    const style = this.element.style;
    style.left = `${box.left + window.scrollX + frame.left + low * frame.width}px`;
    style.top = `${box.top + window.scrollY}px`;
    style.width = `${(high - low) * frame.width}px`;
    style.height = `${box.height}px`;
    this.element.hidden = false;
  }

  hide() {
    this.element.hidden = true;
  }
}
