// Follows a run that goes on: puts in place what the server sends. All of it was made, and escaped, by the server.
"use strict";
(() => {
  const live = document.getElementById("live");
  const connection = document.getElementById("connection");
  if (!live || !live.dataset.events) return;
  const say = (text) => { if (connection.textContent !== text) connection.textContent = text; };
  const show = (text) => {
    const log = live.querySelector("pre.log");
    const below = !log || log.scrollTop + log.clientHeight >= log.scrollHeight - 4;
    const top = log ? log.scrollTop : 0;
    const page = new DOMParser().parseFromString(text, "text/html");
    live.replaceChildren(...page.body.childNodes);
    const fresh = live.querySelector("pre.log");
    if (fresh) fresh.scrollTop = below ? fresh.scrollHeight : top;
  };
  const source = new EventSource(live.dataset.events);
  source.onopen = () => say("");
  source.onmessage = (event) => { say(""); show(event.data); };
  source.onerror = () => say(source.readyState === EventSource.CLOSED
    ? "Not connected; load this page again." : "The connection was lost; connecting again …");
  source.addEventListener("end", (event) => { source.close(); show(event.data); say("The run has ended."); });
  const log = live.querySelector("pre.log");
  if (log) log.scrollTop = log.scrollHeight;
})();
