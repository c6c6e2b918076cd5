// Tables: sorted by a heading (up, down, then as they came; empty cells last).
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

for (const table of all(".table table")) {
  const came = [...table.tBodies[0].rows];
  for (const heading of all("th[scope=col]", table)) {
    one("button", heading).addEventListener("click", () => sortBy(table, heading, came));
  }
}
