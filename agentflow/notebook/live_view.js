// The live view of a run, as an anywidget. The kernel sends `state`, at most ten times a second; this draws it.
// Whatever comes from workflows, models and errors enters the page as text (`textContent`), never as HTML.

const MARKS = {
  ok: "✓", budget_exceeded: "$", failed: "✗", cancelled: "■", interrupted: "■", running: "…", skipped: "»", "not run": "○",
};
const NO_NEWS_MS = 8000; // the kernel says something every second; so long without is worth a word

const STYLE = `
.agentflow-live {
  --line: var(--jp-border-color1, var(--vscode-panel-border, GrayText));
  --text: var(--jp-ui-font-color1, var(--vscode-foreground, CanvasText));
  --quiet: color-mix(in srgb, var(--text) 76%, transparent);
  --ground: var(--jp-layout-color0, var(--vscode-editor-background, Canvas));
  --track: color-mix(in srgb, var(--text) 14%, transparent);
  color: var(--text); background: var(--ground); max-width: 1060px; margin: 4px 0; padding: 14px 16px;
  box-sizing: border-box; border: 1px solid var(--line); border-radius: 10px; font-size: 13px; line-height: 1.5;
  font-family: var(--jp-ui-font-family, var(--vscode-font-family, system-ui));
}
.agentflow-live * { box-sizing: border-box; }
.agentflow-live .row { display: flex; flex-wrap: wrap; gap: 2px 12px; align-items: center; }
.agentflow-live .name { font-size: 16px; font-weight: bold; overflow-wrap: anywhere; }
.agentflow-live .quiet { color: var(--quiet); }
.agentflow-live .stop { margin-left: auto; }
.agentflow-live button {
  font: inherit; color: var(--text); background: transparent; border: 1px solid var(--quiet); border-radius: 6px;
  padding: 2px 12px; cursor: pointer;
}
.agentflow-live button:hover:enabled { background: var(--track); }
.agentflow-live button:focus-visible { outline: 2px solid var(--jp-brand-color1, Highlight); outline-offset: 2px; }
.agentflow-live button:disabled { cursor: default; border-style: dashed; }
.agentflow-live .facts { display: flex; flex-wrap: wrap; gap: 8px 28px; margin: 10px 0; line-height: 1.35; }
.agentflow-live .facts b { font-size: 15px; display: block; font-variant-numeric: tabular-nums; }
.agentflow-live .facts span { font-size: 12px; color: var(--quiet); }
.agentflow-live .track { height: 8px; border-radius: 4px; background: var(--track); overflow: hidden; display: flex; }
.agentflow-live .track i { background: #1a7f37; transition: width .2s; }
.agentflow-live .track i + i { background: #b3261e; }
.agentflow-live .levels { display: flex; flex-wrap: wrap; gap: 8px 0; align-items: center; margin: 10px 0; }
.agentflow-live .level { display: flex; flex-direction: column; gap: 6px; align-items: flex-start; min-width: 0; }
.agentflow-live .arrow { padding: 0 10px; color: var(--quiet); }
.agentflow-live .chip {
  border: 1px solid var(--line); border-radius: 8px; padding: 3px 10px 3px 6px; max-width: 240px; overflow: hidden;
  text-overflow: ellipsis; white-space: nowrap;
}
.agentflow-live .chip[data-status="running"] { border-color: #0969da; box-shadow: inset 0 0 0 1px #0969da; }
.agentflow-live .chip[data-status="failed"] { border-color: #b3261e; }
.agentflow-live .mark {
  display: inline-block; width: 16px; height: 16px; line-height: 16px; border-radius: 8px; margin-right: 6px;
  text-align: center; font-size: 11px; color: #fff; background: #5f6b7a;
}
.agentflow-live [data-status="ok"] > .mark { background: #1a7f37; }
.agentflow-live [data-status="failed"] > .mark { background: #b3261e; }
.agentflow-live [data-status="running"] > .mark { background: #0969da; animation: agentflow-pulse 1.4s infinite; }
@keyframes agentflow-pulse { 50% { opacity: .45; } }
@media (prefers-reduced-motion: reduce) {
  .agentflow-live .mark { animation: none !important; }
  .agentflow-live .track i { transition: none; }
}
.agentflow-live .line { margin: 10px 0 0 0; padding: 8px 0 0 0; border-top: 1px solid var(--line); }
.agentflow-live .line b { overflow-wrap: anywhere; }
.agentflow-live .line .track { margin: 4px 0 0 0; }
.agentflow-live pre {
  margin: 6px 0 0 0; padding: 6px 10px; border-left: 3px solid var(--line); background: transparent; color: inherit;
  font: 12px/1.5 var(--jp-code-font-family, ui-monospace, monospace); white-space: pre-wrap; word-break: normal;
  overflow-wrap: anywhere; max-height: 168px; overflow: auto;
}
.agentflow-live .problem { border-left: 4px solid #b3261e; padding: 2px 0 2px 12px; margin: 10px 0 0 0; }
.agentflow-live [hidden] { display: none !important; }
.agentflow-live .heard { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
`;

function make(parent, tag, name, text) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (text !== undefined) element.textContent = text;
  parent.appendChild(element);
  return element;
}

function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
  element.hidden = !text;
}

function duration(ms) {
  if (ms < 59950) return `${(Math.max(ms, 0) / 1000).toFixed(1)} s`;
  const minutes = Math.floor(ms / 60000), seconds = Math.floor(ms / 1000) % 60;
  if (minutes < 60) return `${minutes} min ${String(seconds).padStart(2, "0")} s`;
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
}

// One element for each key, kept from one drawing to the next: a selection, a focus or a scroll stays where it is.
function keyed(parent, found, wanted, build) {
  const keys = new Set(wanted.map((item) => item.key));
  for (const [key, part] of found) if (!keys.has(key)) { part.root.remove(); found.delete(key); }
  wanted.forEach((item, place) => {
    if (!found.has(item.key)) found.set(item.key, build(item));
    const part = found.get(item.key);
    if (parent.children[place] !== part.root) parent.insertBefore(part.root, parent.children[place] || null);
    part.draw(item);
  });
}

function status(element, mark, value) {
  if (element.dataset.status === value) return;
  element.dataset.status = value;
  mark.textContent = MARKS[value] || "○";
}

function bar(parent) {
  const track = make(parent, "div", "track"), good = make(track, "i"), bad = make(track, "i");
  track.setAttribute("role", "progressbar");
  track.setAttribute("aria-valuemin", "0");
  return (ended, failed, of, label) => {
    track.setAttribute("aria-valuemax", of);
    track.setAttribute("aria-valuenow", ended);
    track.setAttribute("aria-label", label);
    good.style.width = `${of ? ((ended - failed) / of) * 100 : 0}%`;
    bad.style.width = `${of ? (failed / of) * 100 : 0}%`;
  };
}

// Where the reader has scrolled up, the text stays; else it follows the answer.
function follow(pre, text) {
  if (pre.textContent === text) return;
  const stays = pre.scrollTop + pre.clientHeight < pre.scrollHeight - 24;
  say(pre, text);
  if (!stays) pre.scrollTop = pre.scrollHeight;
}

function buildLine(item) {
  const root = document.createElement("div"), head = make(root, "div");
  root.className = "line";
  const mark = make(head, "span", "mark"), name = make(head, "b", "", item.key), told = make(head, "span", "quiet");
  mark.setAttribute("aria-hidden", "true");
  name.dir = "auto";
  const note = make(root, "div"), holder = make(root, "div"), setBar = bar(holder), counted = make(holder, "div", "quiet");
  const text = make(root, "pre"), printedHead = make(root, "div", "quiet", "printed"), printed = make(root, "pre");
  text.dir = printed.dir = "auto";
  text.tabIndex = printed.tabIndex = 0;
  text.setAttribute("aria-label", `the answer of ${item.key} so far`);
  printed.setAttribute("aria-label", `what ${item.key} printed`);
  return {
    root,
    draw(line, since = 0) {
      this.line = line;
      status(head, mark, line.status);
      this.tick(since);
      say(note, line.note);
      holder.hidden = !line.bar;
      if (line.bar) {
        setBar(line.bar.ended, line.bar.failed, line.bar.of, `items of ${line.key}`);
        say(counted, line.bar.told);
      }
      text.hidden = !line.text;
      follow(text, line.text);
      printedHead.hidden = printed.hidden = !line.printed;
      follow(printed, line.printed);
    },
    tick(since) {
      const took = this.line.took_ms + (this.line.status === "running" ? since : 0);
      say(told, `  ${[this.line.status, duration(took), this.line.model].filter(Boolean).join(" · ")}`);
    },
  };
}

function initialize({ model }) {
  model.send({ kind: "here" }); // this front end can draw the view
}

function render({ model, el }) {
  const root = make(el, "div", "agentflow-live");
  make(root, "style", "", STYLE);
  const heard = make(root, "div", "heard");
  heard.setAttribute("role", "status");
  heard.setAttribute("aria-live", "polite");
  const head = make(root, "div", "row");
  const name = make(head, "span", "name"), state = make(head, "span"), mark = make(state, "span", "mark");
  name.dir = "auto";
  const word = make(state, "span"), run = make(head, "span", "quiet"), stop = make(head, "span", "stop");
  mark.setAttribute("aria-hidden", "true");
  const button = make(stop, "button", "", "Cancel"), how = make(stop, "span", "quiet");
  button.type = "button";
  const beside = make(root, "div", "quiet"), facts = make(root, "div", "facts"), setBar = bar(root), counted = make(root, "div", "quiet");
  const levels = make(root, "div", "levels"), lines = make(root, "div"), problem = make(root, "div", "problem");
  problem.setAttribute("role", "alert");
  const factParts = new Map(), levelParts = new Map(), lineParts = new Map();
  let at = performance.now(), cancelling = false;

  button.onclick = guarded(() => {
    cancelling = true;
    model.send({ kind: "cancel" });
    draw();
  });

  function guarded(act) {
    return () => {
      try { act(); } catch (error) { say(problem, `The view has failed: ${error}. The run goes on.`); }
    };
  }

  function buildFact(fact) {
    const root = document.createElement("div"), value = make(root, "b");
    make(root, "span", "", fact.key);
    return { root, draw: (now) => say(value, now.value) };
  }

  function buildLevel(level) {
    const root = document.createElement("div"), chips = new Map();
    root.className = "row";
    if (level.place) make(root, "span", "arrow", "→").setAttribute("aria-hidden", "true");
    const column = make(root, "div", "level");
    return { root, draw: (now) => keyed(column, chips, now.steps.map(([key, value]) => ({ key, value })), buildChip) };
  }

  function buildChip(step) {
    const root = document.createElement("div"), mark = make(root, "span", "mark");
    root.className = "chip";
    root.title = step.key;
    mark.setAttribute("aria-hidden", "true");
    make(root, "span", "", step.key).dir = "auto";
    const word = make(root, "span", "quiet");
    return { root, draw: (now) => { status(root, mark, now.value); say(word, ` ${now.value}`); } };
  }

  function draw() {
    const now = model.get("state");
    const isRunning = now.status === "running";
    cancelling = isRunning && (cancelling || now.cancelling);
    say(name, now.name);
    status(state, mark, now.status);
    say(run, now.run ? `run ${now.run}` : "");
    button.disabled = cancelling;
    say(button, cancelling ? "cancelling…" : "Cancel");
    button.hidden = !now.can_cancel || !isRunning;
    say(how, now.can_cancel || !isRunning ? "" : "to stop: the kernel's stop button ■, or I I");
    say(beside, now.beside);
    facts.hidden = !now.facts.length;
    keyed(facts, factParts, now.facts.map(([key, value]) => ({ key, value })), buildFact);
    setBar(now.ended, now.counts.failed || 0, now.of, "steps");
    const others = Object.entries(now.counts).map(([status, number]) => `${number.toLocaleString("en")} ${status}`);
    say(counted, `${now.ended.toLocaleString("en")} of ${now.of.toLocaleString("en")} steps · ${others.join(" · ")}`);
    levels.hidden = !now.levels.length;
    keyed(levels, levelParts, now.levels.map((steps, place) => ({ key: place, place, steps })), buildLevel);
    keyed(lines, lineParts, now.lines, buildLine);
    if (heard.textContent !== now.said) heard.textContent = now.said;
    say(problem, now.problem);
    tick();
  }

  function tick() {
    const now = model.get("state"), since = now.status === "running" ? performance.now() - at : 0;
    const said = cancelling ? "cancelling…" : now.status.replace("_", " ");
    say(word, `${said} ${duration(now.elapsed_ms + since)}`);
    for (const part of lineParts.values()) part.tick(since);
    if (since > NO_NEWS_MS) {
      say(problem, `No news for ${Math.round(since / 1000)} s: the kernel is busy, or has ended. `
        + "What was finished is kept: agentflow.runs() lists the run.");
    }
  }

  const take = guarded(() => { at = performance.now(); draw(); });
  const timer = setInterval(guarded(tick), 200);
  model.on("change:state", take);
  take();
  return () => { clearInterval(timer); model.off("change:state", take); };
}

export default { initialize, render };
