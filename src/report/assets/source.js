// What payload.rs packs: reading it, and asking for other parts of a history than those at hand.

const OUTCOMES = ["ok", "failed", "outcome unknown"];
const SEPARATOR = "\u001f";

/** One stream of unsigned LEB128 numbers as an array of `type`, each number as `take` makes it of the one before. */
function numbers(bytes, count, type, take) {
  const out = new type(count);
  let at = 0;
  let before = 0;
  for (let i = 0; i < count; i++) {
    let value = 0;
    let factor = 1;
    let byte;
    do {
      byte = bytes[at++];
      value += (byte & 0x7f) * factor;
      factor *= 128;
    } while (byte & 0x80);
    before = take ? take(value, before) : value;
    out[i] = before;
  }
  return out;
}

/** Operations as columns; `null` where the bytes are not what they should be. */
function decode(buffer) {
  const headerLength = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, headerLength)));
  if (header.format !== 1) throw new Error("the operations are of format " + header.format);
  const streams = {};
  let at = 4 + headerLength;
  for (const [name, length] of header.columns) {
    streams[name] = new Uint8Array(buffer, at, length);
    at += length;
  }
  const n = header.carried;
  const sum = (value, before) => value + before;
  const ops = {
    header,
    n,
    start: numbers(streams.start, n, Float64Array, sum),
    duration: numbers(streams.duration, n, Float64Array),
    invoke: numbers(streams.invoke, n, Float64Array, sum),
    complete: numbers(streams.complete, n, Float64Array),
    process: numbers(streams.process, n, Uint32Array),
    f: numbers(streams.f, n, Uint32Array),
    key: numbers(streams.key, n, Uint32Array),
    node: numbers(streams.node, n, Uint32Array),
    error: numbers(streams.error, n, Uint32Array),
    outcome: numbers(streams.outcome, n, Uint8Array),
    textEnd: numbers(streams.value, n, Float64Array, sum),
    texts: streams.texts,
    guilty: new Uint8Array(n),
  };
  ops.lane = Uint32Array.from(ops.process, (place) => header.processes[place][1]);
  ops.longest = ops.duration.reduce((most, one) => (one > most ? one : most), 0);
  ops.level = Float32Array.from(ops.duration, (us) => Math.log10(Math.max(us, 1) / 1e6));
  for (const mark of header.marks) {
    mark.operations = mark.events.map((event) => ofEvent(ops, event)).filter((i) => i >= 0);
    mark.operations = [...new Set(mark.operations)].sort((a, b) => a - b);
    for (const i of mark.operations) ops.guilty[i] = Math.max(ops.guilty[i], ops.invoke[i] === mark.culprit ? 2 : 1);
  }
  // By how much it matters: 0 ok, 1 failed, 2 unknown, 3 shows a violation, 4 cannot be explained.
  ops.kind = ops.outcome.map((outcome, i) => (ops.guilty[i] ? 2 + ops.guilty[i] : outcome));
  ops.rare = Uint32Array.from(Array.from({ length: n }, (_, i) => i).filter((i) => ops.kind[i] > 0));
  return ops;
}

/** The first place from which on the ascending `column` is at least `value`. */
function lowerBound(column, value) {
  let low = 0;
  let high = column.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (column[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The operation that an event began or ended, or -1. */
function ofEvent(ops, event) {
  let i = lowerBound(ops.invoke, event);
  if (i < ops.n && ops.invoke[i] === event) return i;
  for (i--; i >= 0; i--) if (ops.complete[i] && ops.invoke[i] + ops.complete[i] === event) return i;
  return -1;
}

/** What an operation was asked with and what it came back with, as JSON; `null` where that is not carried. */
function valuesOf(ops, i) {
  const begin = i > 0 ? ops.textEnd[i - 1] : 0;
  if (ops.textEnd[i] === begin) return null;
  const text = new TextDecoder().decode(ops.texts.subarray(begin, ops.textEnd[i]));
  const [asked, came] = text.split(SEPARATOR);
  return { asked, came: came === undefined ? asked : came };
}

/** The micro-operations of a transaction in words; the text as it is where it was cut. */
function microOperations(text) {
  try {
    const word = (part) => (typeof part === "string" ? part : JSON.stringify(part));
    const micro = (parts) => (parts[0] === "r" && parts.length === 3 ? `r ${word(parts[1])} → ${word(parts[2])}` : parts.map(word).join(" "));
    return JSON.parse(text).map(micro).join(" · ");
  } catch {
    return text;
  }
}

/** An operation in a few characters. */
function labelOf(ops, i) {
  const f = ops.header.functions[ops.f[i]];
  const values = valuesOf(ops, i);
  let text = f;
  if (values) {
    const value = ops.complete[i] ? values.came : values.asked;
    if (f === "txn") text = microOperations(value);
    else if (f === "read") text = ops.outcome[i] === 0 ? `read → ${value}` : f;
    else if (value !== "null") text = `${f} ${value}`;
  }
  return text.slice(0, 60) + ["", " ✗", " ?"][ops.outcome[i]];
}

/** An operation in all that is known of it: names and values. */
function factsOf(ops, i) {
  const header = ops.header;
  const values = valuesOf(ops, i);
  const facts = [["operation", labelOf(ops, i)], ["process", String(header.processes[ops.process[i]][0])]];
  if (ops.key[i]) facts.push(["key", header.keys[ops.key[i] - 1]]);
  facts.push(["began", `${seconds(ops.start[i], 6)} (event ${ops.invoke[i]})`]);
  if (ops.complete[i]) {
    const end = ops.start[i] + ops.duration[i];
    facts.push([OUTCOMES[ops.outcome[i]], `${seconds(end, 6)} (event ${ops.invoke[i] + ops.complete[i]})`]);
    facts.push(["took", span(ops.duration[i])]);
  } else {
    facts.push(["ended", "never"]);
  }
  if (values) facts.push(["asked", values.asked]);
  if (values && values.came !== values.asked) facts.push(["came back", values.came]);
  if (!values) facts.push(["values", "not carried here; see the history"]);
  if (ops.node[i]) facts.push(["answered by", header.nodes[ops.node[i] - 1]]);
  if (ops.error[i]) facts.push(["error", header.errors[ops.error[i] - 1]]);
  return facts;
}

/** Microseconds as seconds. */
function seconds(us, digits) {
  return `${(us / 1e6).toFixed(digits)} s`;
}

/** A length of time in the unit that suits it. */
function span(us) {
  if (us < 1e3) return `${us} µs`;
  if (us < 1e6) return `${(us / 1e3).toFixed(us < 1e4 ? 2 : 1)} ms`;
  return `${(us / 1e6).toFixed(us < 1e7 ? 2 : 1)} s`;
}

/** The operations that the page itself carries. */
async function embedded(element) {
  const text = atob(element.textContent.trim());
  const packed = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) packed[i] = text.charCodeAt(i);
  if (typeof DecompressionStream === "undefined") throw new Error("this browser cannot unpack the operations");
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return decode(await new Response(stream).arrayBuffer());
}

/** A part of the operations from the server, by what is wanted of them. */
async function fetched(url, wanted) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(wanted)) {
    if (value !== "" && value !== null) query.set(name, String(value));
  }
  const answer = await fetch(`${url}?${query}`);
  if (!answer.ok) throw new Error(`the server says ${answer.status}: ${(await answer.text()).slice(0, 200)}`);
  return decode(await answer.arrayBuffer());
}
