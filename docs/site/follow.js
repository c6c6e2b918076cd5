function follow() {  // the site's own switch between light and dark; opened alone, the system's
  let dark = matchMedia("(prefers-color-scheme: dark)").matches;
  try { if (parent !== window) dark = parent.document.body.dataset.mdColorScheme === "slate"; } catch (away) {}
  document.documentElement.classList.toggle("dark", dark);
}
follow();
try { new MutationObserver(follow).observe(parent.document.body, {attributes: true}); } catch (away) {}
