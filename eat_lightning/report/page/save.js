// A figure saved as an SVG file that needs no style sheet: the page's colours are written into it.
const COLOURED = ["fill", "stroke", "stop-color", "color"];

// What a colour of the page is on white paper, whatever the reader's theme.
function onPaper(value, probe) {
  probe.style.color = "";
  probe.style.color = value.replace(/currentcolor/i, "var(--ink)");
  return getComputedStyle(probe).color;
}

function standAlone(svg) {
  const copy = svg.cloneNode(true);
  const probe = make("span", { className: "paper" });
  document.body.append(probe);
  for (const node of [copy, ...all("*", copy)]) {
    for (const name of COLOURED) {
      const styled = node.style.getPropertyValue(name);
      const plain = node.getAttribute(name) ?? "";
      if (/var\(|currentcolor/i.test(styled)) node.style.setProperty(name, onPaper(styled, probe));
      if (/var\(|currentcolor/i.test(plain)) node.setAttribute(name, onPaper(plain, probe));
    }
    for (const name of ["tabindex", "role", "aria-label", "aria-describedby"]) node.removeAttribute(name);
  }
  probe.remove();
  copy.setAttribute("style", "stroke-linejoin:round;stroke-linecap:butt");
  return `<?xml version="1.0" encoding="utf-8"?>\n${new XMLSerializer().serializeToString(copy)}\n`;
}

for (const link of all("[data-save=svg]")) {
  link.hidden = false;
  link.addEventListener("click", () => {
    const svg = one("svg", link.closest("figure"));
    link.href = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(standAlone(svg))}`;
  });
}
