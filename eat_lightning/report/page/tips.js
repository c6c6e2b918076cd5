// One tooltip for marks, flags, headings and sources: by pointer, focus or tap; a click keeps it.
const tip = one("#tip");
const { sources, marks: marksOf } = read("sources");
const marked = new WeakMap();  // a mark's SVG group -> the mark
const ANCHOR = "[data-tip], [data-source], .mark";
const REACH = { mouse: 12, pen: 16, touch: 26 };  // how far from a mark a pointer may be, in pixels
let anchor = null;
let kept = false;
let waiting = 0;

function copyButton(text) {
  const button = make("button", { type: "button", className: "copy", textContent: "Copy" });
  button.addEventListener("click", async () => {
    try { await navigator.clipboard.writeText(text); } catch { copyBySelection(button); }
    button.textContent = "Copied";
    say("Command copied");
  });
  return button;
}

function copyBySelection(button) {  // where the browser offers no clipboard to a page from disk
  getSelection().selectAllChildren(button.previousElementSibling);
  document.execCommand("copy");
  getSelection().removeAllRanges();
  button.focus();
}

function sourceParts({ runs, command, commits }) {
  const parts = [];
  const list = (title, names) => {
    if (!names.length) return;
    const items = names.map((name) => make("li", { textContent: name }));
    parts.push(make("h4", { textContent: title }), make("ul", {}, ...items));
  };
  list(runs.length === 1 ? "Run" : `${runs.length} runs`, runs);
  if (command) {
    const line = make("div", { className: "command" }, make("code", { textContent: command }));
    line.append(copyButton(command));
    parts.push(make("h4", { textContent: "Command" }), line);
  }
  list(commits.length === 1 ? "Commit" : "Commits", commits);
  return parts;
}

function markParts({ title, details, source }) {
  const pairs = details.map(([name, value]) =>
    make("div", {}, make("dt", { textContent: name }), make("dd", { textContent: value })));
  return [make("h3", { textContent: title }), make("dl", {}, ...pairs), ...sourceParts(sources[source])];
}

function partsOf(node) {
  if (marked.has(node)) return markParts(marked.get(node));
  if (node.dataset.source) return sourceParts(sources[node.dataset.source]);
  return [make("p", { textContent: node.dataset.tip })];
}

function place(node) {
  const at = node.getBoundingClientRect();
  const frame = node.closest(".canvas, .frame")?.getBoundingClientRect();
  const middle = Math.min(Math.max((at.left + at.right) / 2, frame?.left ?? 0), frame?.right ?? innerWidth);
  const left = Math.min(Math.max(middle - tip.offsetWidth / 2, 8), innerWidth - tip.offsetWidth - 8);
  const below = at.bottom + 10;
  const fits = below + tip.offsetHeight < innerHeight || at.top < tip.offsetHeight + 16;
  tip.style.setProperty("--left", `${left}px`);
  tip.style.setProperty("--top", `${fits ? Math.min(below, Math.max(8, innerHeight - tip.offsetHeight - 8)) : at.top - tip.offsetHeight - 10}px`);
}

function show(node, keep = false) {
  clearTimeout(waiting);
  if (anchor !== node) {
    hide();
    tip.replaceChildren(...partsOf(node));
  }
  anchor = node;
  kept = keep;
  tip.hidden = false;
  tip.setAttribute("role", keep ? "dialog" : "tooltip");
  tip.setAttribute("aria-label", "Details");
  node.setAttribute("aria-describedby", "tip");
  node.classList.add("pointed");
  place(node);
}

function hide() {
  clearTimeout(waiting);
  anchor?.removeAttribute("aria-describedby");
  anchor?.classList.remove("pointed");
  anchor = null;
  kept = false;
  tip.hidden = true;
}

function hideSoon() {  // time to move the pointer into the tooltip
  clearTimeout(waiting);
  if (!kept) waiting = setTimeout(hide, 180);
}

function keep(node, byKeyboard) {
  show(node, true);
  if (byKeyboard) one("button", tip)?.focus();
}

// The mark under the pointer, or the nearest small one within reach.
function markAt(canvas, event) {
  const direct = event.target.closest(".mark");
  if (direct) return direct;
  let best = null;
  let least = REACH[event.pointerType] ?? REACH.touch;
  for (const node of all(".mark", canvas)) {
    const at = node.getBoundingClientRect();
    if (Math.max(at.width, at.height) > 60) continue;
    const away = Math.hypot(
      Math.max(at.left - event.clientX, 0, event.clientX - at.right),
      Math.max(at.top - event.clientY, 0, event.clientY - at.bottom));
    if (away < least) [best, least] = [node, away];
  }
  return best;
}

function startFigure(figure) {
  const canvas = one(".canvas", figure);
  const nodes = [];
  for (const mark of marksOf[figure.dataset.figure] ?? []) {
    const node = one(`#${CSS.escape(mark.gid)}`, canvas);
    if (!node) continue;
    marked.set(node, mark);
    node.classList.add("mark");
    node.setAttribute("role", "img");
    node.setAttribute("aria-label", [mark.title, ...mark.details.map((d) => d.join(" "))].join("; "));
    node.setAttribute("tabindex", nodes.length ? -1 : 0);  // one stop; arrows go on from there
    nodes.push(node);
  }
  canvas.addEventListener("pointermove", (event) => {
    if (event.pointerType === "touch" || kept) return;
    const node = markAt(canvas, event);
    if (node) show(node);
    else hideSoon();
  });
  canvas.addEventListener("pointerleave", hideSoon);
  canvas.addEventListener("click", (event) => {
    const node = markAt(canvas, event);
    if (node) { keep(node, false); event.stopPropagation(); }
  });
  canvas.addEventListener("keydown", (event) => walk(event, nodes));
}

function walk(event, nodes) {
  const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
  if (!nodes.includes(event.target)) return;
  if (event.key in steps) {
    const across = (node) => node.getBoundingClientRect().left;
    const order = [...nodes].sort((a, b) => across(a) - across(b));
    const next = order[(order.indexOf(event.target) + steps[event.key] + order.length) % order.length];
    for (const node of nodes) node.setAttribute("tabindex", node === next ? 0 : -1);
    next.focus();
    event.preventDefault();
  } else if (event.key === "Enter" || event.key === " ") {
    keep(event.target, true);
    event.preventDefault();
  }
}

function startTips() {
  all(".figure").forEach(startFigure);
  document.addEventListener("pointerover", (event) => {
    if (tip.contains(event.target)) return clearTimeout(waiting);
    const node = event.target.closest("[data-tip], [data-source]");
    if (node && event.pointerType !== "touch" && !kept) show(node);
    return undefined;
  });
  document.addEventListener("pointerout", (event) => {
    if (anchor && !anchor.closest(".canvas") && event.target.closest(ANCHOR) === anchor) hideSoon();
  });
  tip.addEventListener("pointerleave", hideSoon);
  document.addEventListener("focusin", (event) => {
    const node = event.target.closest(ANCHOR);
    if (node && node.matches(":focus-visible")) show(node);
    else if (!tip.contains(event.target) && !kept) hide();
  });
  document.addEventListener("click", (event) => {
    if (tip.contains(event.target)) return;
    const node = event.target.closest(".flag[data-tip], [data-source]");
    if (node) keep(node, event.detail === 0);
    else hide();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !anchor) return;
    const back = tip.contains(document.activeElement) ? anchor : null;
    hide();
    back?.focus();
    hide();
  });
  addEventListener("scroll", (event) => { if (!kept && anchor && event.target !== tip) hideSoon(); }, true);
  addEventListener("resize", hide);
}

startTips();
