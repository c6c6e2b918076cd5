// Tables: sorted by a heading (up, down, then as they came; empty cells last), and their columns.
const WORDS = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

function compare(a, b, numeric, sign) {
  const [left, right] = [a.dataset.value, b.dataset.value];
  if (left === undefined || right === undefined) return (left === undefined) - (right === undefined);
  return sign * (numeric ? Number(left) - Number(right) : WORDS.compare(left, right));
}

function sortBy(table, heading, came) {
  const next = { none: "ascending", ascending: "descending", descending: "none" };
  const way = next[heading.getAttribute("aria-sort") ?? "none"];
  const column = heading.cellIndex;
  const sign = way === "descending" ? -1 : 1;
  const numeric = heading.classList.contains("number");
  const rows = way === "none" ? came
    : [...came].sort((a, b) => compare(a.cells[column], b.cells[column], numeric, sign));
  for (const other of all("[aria-sort]", table)) other.removeAttribute("aria-sort");
  if (way !== "none") heading.setAttribute("aria-sort", way);
  table.tBodies[0].append(...rows);
  const name = heading.textContent;
  say(way === "none" ? `${name}: as it came` : `Sorted by ${name}, ${way}`);
}

// A second naming column stays in sight too, right of the first.
function holdLeading(table) {
  const first = one("th[scope=col]", table);
  new ResizeObserver(() => table.style.setProperty("--first", `${first.offsetWidth}px`)).observe(first);
}

function scrollToGroup(frame, name) {
  const group = all("th[scope=colgroup]", frame).find((node) => node.textContent === name);
  const named = all("th[scope=col]", frame).slice(0, Number(one("table", frame).dataset.leading));
  const held = named.reduce((sum, node) => sum + node.offsetWidth, 0);
  frame.scrollTo({ left: group.offsetLeft - held });
}

for (const block of all(".table")) {
  const table = one("table", block);
  const came = [...table.tBodies[0].rows];
  for (const heading of all("th[scope=col]", table)) {
    one("button", heading).addEventListener("click", () => sortBy(table, heading, came));
  }
  for (const button of all("[data-jump]", block)) {
    button.addEventListener("click", () => scrollToGroup(one(".frame", block), button.textContent));
  }
  holdLeading(table);
}

// On paper nothing scrolls: a grouped table is printed as one of each group's columns.
function partsOfTable(table) {
  const named = Number(table.dataset.leading);
  let from = 0;
  const parts = [];
  for (const group of one(".groups", table)?.cells ?? []) {
    const to = from + group.colSpan;
    if (group.scope === "colgroup") parts.push(partOfTable(table, group.textContent, named, from, to));
    from = to;
  }
  return parts;
}

function partOfTable(table, name, named, from, to) {
  const part = table.cloneNode(true);
  one(".groups", part).remove();
  for (const row of part.rows) {
    [...row.cells].forEach((cell, i) => { if (i >= named && (i < from || i >= to)) cell.remove(); });
  }
  part.prepend(make("caption", { textContent: name }));
  part.classList.add("printed");
  return part;
}

addEventListener("beforeprint", () => {
  for (const table of all(".table table")) {
    const parts = partsOfTable(table);
    table.hidden = parts.length > 0;
    table.after(...parts);
  }
});
addEventListener("afterprint", () => {
  for (const part of all(".printed")) part.remove();
  for (const table of all(".table table")) table.hidden = false;
});
