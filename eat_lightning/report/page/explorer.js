// The example explorer: which tokens a reduction dropped where, what the exits thought, where it left.
const SHOWN = 200;  // sentences in the list at once; more are found by typing

const leaving = (way, rule) => way?.rules.find((found) => found.rule === rule);
const named = (example, name) => example.ways.find((way) => way.name === name);
// A score (of a regression) is neither right nor wrong.
const judged = (example, left) => left && typeof example.label === "string";
const right = (example, left) => judged(example, left) && left.answer === example.label;
const wrong = (example, left) => judged(example, left) && left.answer !== example.label;
const percent = (share) => `${Math.round(100 * share)}%`;
const sentence = (example) => example.text.join(" / ");

function fill(select, names, chosen) {
  select.replaceChildren(...names.map(([value, text]) => make("option", { value, textContent: text })));
  select.value = names.some(([value]) => value === chosen) ? chosen : names[0]?.[0] ?? "";
}

// "##ing" goes on the word before it, and "Ġ" or "▁" begins one.
const isPiece = (token) => token.startsWith("##");

function tokenNode(token, state) {
  const special = /^(\[[A-Z]+\]|<\/?[a-z]+>)$/.test(token) ? "special" : "";
  const text = token.replace(/^##|^[Ġ▁]/, "") || token;
  return make("span", { className: ["token", state, special].filter(Boolean).join(" "), textContent: text });
}

function tokenRow(example, way, layer) {
  const now = new Set(way.kept[layer - 1]);
  const before = layer > 1 ? new Set(way.kept[layer - 2]) : now;
  const row = make("div", { className: "tokens" });
  example.tokens.forEach((token, i) => {
    if (example.segments[i] > (example.segments[i - 1] ?? 0)) row.append(make("span", { className: "break" }));
    if (!isPiece(token) || !row.lastChild) row.append(make("span", { className: "word" }));
    row.lastChild.append(tokenNode(token, now.has(i) ? "" : before.has(i) ? "gone went" : "gone"));
  });
  return row;
}

function bar(name, share, top, point) {
  const track = make("span", { className: "track" }, make("span", { className: "bar", style: `width:${100 * share}%` }));
  if (top && point > 0 && point <= 1) track.append(make("span", { className: "point", style: `left:${100 * point}%` }));
  return make("div", { className: top ? "guess top" : "guess" },
    make("span", { className: "label", textContent: name, title: name }), track,
    make("span", { className: "share", textContent: percent(share) }));
}

function exitBars(exit, labels, point) {
  if (!labels.length) return make("div", { className: "exit score", textContent: `score ${exit.answer}` });
  const bars = exit.probabilities.map((share, i) => bar(labels[i], share, labels[i] === exit.answer, point));
  return make("div", { className: "exit" }, ...bars);
}

function layerRow(example, way, layer, labels, left) {
  const exit = way.exits.find((e) => e.layer === layer);
  const kept = way.kept[layer - 1].length;
  const run = !left || layer <= left.left_at;
  const head = make("div", { className: "layer-name" }, make("b", { textContent: `Layer ${layer}` }),
    make("span", { textContent: run ? `${kept} of ${example.tokens.length} tokens` : "not run" }));
  return make("li", { className: run ? "layer" : "layer unrun" }, head,
    tokenRow(example, way, layer), exit ? exitBars(exit, labels, left?.point) : null);
}

function verdict(example, left) {
  if (!left) return "This rule was not recorded for this reduction.";
  const end = right(example, left) ? ", which is right" : wrong(example, left) ? `; the label is ${example.label}` : "";
  return `Left after layer ${left.left_at} (${left.reason}) with the answer ${left.answer}${end}.`;
}

function wayNode(example, name, labels, rule) {
  const way = named(example, name);
  const title = make("h3", { textContent: name });
  if (!way) return make("article", { className: "way" }, title, make("p", { textContent: "Not recorded for this sentence." }));
  if (way.own) title.append(make("span", { className: "own", textContent: "as trained" }));
  const left = leaving(way, rule);
  const layers = make("ol", { className: "layers" });
  way.kept.forEach((_, i) => {
    layers.append(layerRow(example, way, i + 1, labels, left));
    if (left?.left_at === i + 1) layers.append(leftLine(example, left));
  });
  const tone = wrong(example, left) ? "verdict wrong" : "verdict";
  return make("article", { className: "way" }, title, make("p", { className: tone, textContent: verdict(example, left) }), layers);
}

function leftLine(example, left) {
  const sign = right(example, left) ? " ✓" : wrong(example, left) ? " ✗" : "";
  const tone = wrong(example, left) ? "left wrong" : "left";
  return make("li", { className: tone }, make("span", { textContent: `left here: ${left.answer}${sign}` }));
}

function explore({ tasks }) {
  const [task, search, list, count] = ["#x-task", "#x-search", "#x-list", "#x-count"].map((s) => one(s));
  const [first, second, rule, view] = ["#x-way", "#x-other", "#x-rule", "#x-view"].map((s) => one(s));
  const now = () => tasks[Number(task.value)];
  const leftOf = (example) => leaving(named(example, first.value), rule.value);
  let example = null;
  let matching = [];

  function draw() {
    if (!example) return view.replaceChildren();
    const names = [first.value, ...(second.value ? [second.value] : [])];
    const ways = names.map((name) => wayNode(example, name, now().labels, rule.value));
    const words = example.text.map((text) => make("p", { textContent: text }));
    const label = make("p", { className: "truth", textContent: example.label === null ? "no label" : `label: ${example.label}` });
    const from = make("p", { className: "from" }, make("span", { textContent: `Run ${now().run}` }));
    if (now().command) from.append(make("code", { textContent: now().command }));
    view.replaceChildren(make("blockquote", {}, ...words, label),
      make("div", { className: ways.length > 1 ? "ways two" : "ways" }, ...ways), from);
    for (const [i, button] of all("button", list).entries()) button.setAttribute("aria-pressed", String(matching[i] === example));
    return undefined;
  }

  function entry(found) {
    const left = leftOf(found);
    const sign = right(found, left) ? "✓" : wrong(found, left) ? "✗" : "";
    const button = make("button", { type: "button" }, make("span", { textContent: sentence(found) }),
      make("small", { textContent: left ? `layer ${left.left_at} ${sign}` : "" }));
    button.addEventListener("click", () => choose(found));
    return make("li", {}, button);
  }

  function narrow() {
    const words = search.value.trim().toLowerCase();
    matching = now().examples.filter((e) => sentence(e).toLowerCase().includes(words));
    list.replaceChildren(...matching.slice(0, SHOWN).map(entry));
    const more = matching.length > SHOWN ? `, the first ${SHOWN} shown` : "";
    count.textContent = `${matching.length} of ${now().examples.length} sentences${more}`;
    if (!matching.includes(example) && matching.length) [example] = matching;
    draw();
  }

  function choose(found) {
    example = found;
    draw();
    const entryNode = one("[aria-pressed=true]", list);
    if (entryNode) list.scrollTop = entryNode.offsetTop - list.clientHeight / 2;  // not the page
  }

  // The next of these after the one that is shown, so that a second press goes on.
  function nextOf(found) {
    if (!found.length) return say("There is none");
    choose(found[(found.indexOf(example) + 1) % found.length]);
    return undefined;
  }

  const picks = {
    random: () => choose(matching[Math.floor(Math.random() * matching.length)] ?? example),
    hardest: () => nextOf([...matching].sort((a, b) => (leftOf(b)?.left_at ?? 0) - (leftOf(a)?.left_at ?? 0))),
    wrong: () => nextOf(matching.filter((e) => wrong(e, leftOf(e)))),
  };

  function openTask() {
    const ways = now().examples.flatMap((e) => e.ways);
    const names = [...new Set(ways.map((way) => way.name))].map((name) => [name, name]);
    const own = ways.find((way) => way.own)?.name;
    fill(first, names, own);
    fill(second, [["", "nothing"], ...names], "");
    const rules = ways.flatMap((way) => way.rules);
    const labels = [...new Set(rules.map((found) => found.rule))];
    fill(rule, labels.map((r) => [r, r]), rules.find((found) => found.own)?.rule ?? labels[0]);
    search.value = "";
    example = null;
    narrow();
  }

  fill(task, tasks.map((t, i) => [String(i), t.task]), "0");
  one("#x-tasks").hidden = tasks.length < 2;
  task.addEventListener("change", openTask);
  search.addEventListener("input", narrow);
  for (const select of [first, rule]) select.addEventListener("change", narrow);
  second.addEventListener("change", draw);
  for (const button of all("[data-pick]")) button.addEventListener("click", picks[button.dataset.pick]);
  openTask();
}

const recorded = read("examples");
if (recorded) explore(recorded);
