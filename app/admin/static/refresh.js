// The part of a page that changes fetches itself anew. Without this script the pages are complete and simply stand still.
"use strict";
(() => {
  const SHORTEST = 5000;
  const LONGEST = 60000;
  const live = document.querySelector(".live[data-refresh]");
  const place = document.getElementById("refresh");
  if (!live || !place) return;

  const said = document.createElement("span");
  const button = document.createElement("button");
  button.type = "button";
  button.className = "quiet";
  place.append(said, button);

  let paused = sessionStorage.getItem("paused") === "yes";
  let timer = 0;
  let wait = SHORTEST;
  let shown = live.innerHTML;

  const show = (text) => {
    said.textContent = text;
    button.textContent = paused ? "Resume" : "Pause";
  };

  const schedule = () => {
    clearTimeout(timer);
    if (!paused) timer = setTimeout(refresh, wait);
  };

  // Somebody who is selecting text, or typing in what would be replaced, is left alone.
  const busy = () => {
    const selection = getSelection();
    const selecting = selection && !selection.isCollapsed && live.contains(selection.anchorNode);
    const active = document.activeElement;
    return selecting || (live.contains(active) && active.matches("input:not([type=hidden]), select, textarea"));
  };

  const mark = (element) =>
    [element.tagName, element.id, element.getAttribute("href"), element.getAttribute("aria-label"), element.textContent].join("\n");

  const replace = (fresh) => {
    const active = document.activeElement;
    const focused = live.contains(active) ? mark(active) : null;
    const open = [...live.querySelectorAll("details[open][id]")].map((details) => details.id);
    live.replaceChildren(...fresh.childNodes);
    for (const id of open) {
      const details = document.getElementById(id);
      if (details) details.open = true;
    }
    if (focused !== null) {
      const again = [...live.querySelectorAll("a, button, summary, pre")].find((element) => mark(element) === focused);
      if (again) again.focus({ preventScroll: true });
    }
  };

  const refresh = async () => {
    if (document.hidden || busy()) return schedule();
    const started = performance.now();
    try {
      const response = await fetch(location.href, { credentials: "same-origin", cache: "no-store" });
      // Signed out meanwhile: the page itself has to go there.
      if (response.redirected) return location.reload();
      if (!response.ok) throw new Error(String(response.status));
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      const fresh = page.querySelector(".live[data-refresh]");
      if (!fresh) return location.reload();
      if (fresh.innerHTML !== shown && !busy()) {
        shown = fresh.innerHTML;
        replace(document.adoptNode(fresh));
      }
      // A page that is costly to make is asked for less often.
      wait = Math.min(LONGEST, Math.max(SHORTEST, 10 * (performance.now() - started)));
      show("Updates by itself");
    } catch {
      wait = Math.min(LONGEST, wait * 2);
      show("Could not be updated; trying again");
    }
    schedule();
  };

  button.addEventListener("click", () => {
    paused = !paused;
    sessionStorage.setItem("paused", paused ? "yes" : "no");
    wait = SHORTEST;
    show(paused ? "Stands still" : "Updates by itself");
    if (paused) clearTimeout(timer);
    else refresh();
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && !paused) refresh();
  });

  show(paused ? "Stands still" : "Updates by itself");
  schedule();
})();
