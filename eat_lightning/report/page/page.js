// What the page's other scripts share, the theme, the contents, and printing.
"use strict";
const one = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const read = (id) => JSON.parse(document.getElementById(id).textContent);
const say = (text) => { one("#said").textContent = text; };

// An element; what comes from data is only ever set as text, never parsed as HTML.
function make(name, properties = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in node) node[key] = value;
    else node.setAttribute(key, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

const store = {  // a page opened from disk may be forbidden to remember
  get(key) { try { return localStorage.getItem(key); } catch { return null; } },
  set(key, value) { try { localStorage.setItem(key, value); } catch { /* only not remembered */ } },
};

const systemDark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (document.documentElement.dataset.theme || (systemDark.matches ? "dark" : "light")) === "dark";

function nameTheme() {
  one("#theme").textContent = isDark() ? "Light" : "Dark";
  one("#theme").setAttribute("aria-label", isDark() ? "Use light colours" : "Use dark colours");
}

function startTheme() {
  const chosen = store.get("eat-theme");
  if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
  one("#theme").hidden = false;
  one("#theme").addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    store.set("eat-theme", document.documentElement.dataset.theme);
    nameTheme();
  });
  systemDark.addEventListener("change", nameTheme);
  nameTheme();
}

function followReader() {
  const links = new Map(all(".contents a").map((link) => [link.hash.slice(1), link]));
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries.filter((e) => e.isIntersecting)) {
      for (const link of links.values()) link.removeAttribute("aria-current");
      const link = links.get(entry.target.id);
      link.setAttribute("aria-current", "true");
      const list = link.closest("ul");  // on a phone the list itself scrolls sideways
      list.scrollLeft = link.offsetLeft - list.clientWidth / 2 + link.offsetWidth / 2;
    }
  }, { rootMargin: "-15% 0px -80% 0px" });
  for (const id of links.keys()) watcher.observe(document.getElementById(id));
}

function openForPrint() {
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = all("details:not([open])");
    for (const details of closed) details.open = true;
  });
  addEventListener("afterprint", () => { for (const details of closed) details.open = false; });
}

startTheme();
followReader();
openForPrint();
