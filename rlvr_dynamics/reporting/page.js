"use strict";
(() => {
  const MISSING = new Set(["", "–"]);
  const text = (cell) => (cell.dataset.value ?? cell.textContent).trim();

  // A field counts as a number when it starts with one: 71.4 %, −2.0 [−3.1, −0.9], 1e−5, ∞.
  const number = (shown) => {
    const plain = shown.replaceAll("−", "-").replace(/^\[/, "");
    const found = plain.match(/^[+-]?(\d+(\.\d+)?(e[+-]?\d+)?|∞)(?![\w.])/);
    if (!found) return NaN;
    return Number(found[0].replace("∞", "Infinity"));
  };

  const compare = new Intl.Collator("en", { numeric: true }).compare;

  const sort = (table, column, direction) => {
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row, place) => {
      row.dataset.place ??= place;
      return { row, place: Number(row.dataset.place), shown: text(row.cells[column]) };
    });
    const known = rows.filter(({ shown }) => !MISSING.has(shown));
    const numeric = known.length > 0 && known.every(({ shown }) => !Number.isNaN(number(shown)));
    const sign = direction === "descending" ? -1 : 1;
    rows.sort((a, b) => {
      if (direction === "none") return a.place - b.place;
      const gone = MISSING.has(a.shown) - MISSING.has(b.shown); // a missing value is always last
      if (gone) return gone;
      const order = numeric ? number(a.shown) - number(b.shown) : compare(a.shown, b.shown);
      return sign * (order || 0) || a.place - b.place;
    });
    body.append(...rows.map(({ row }) => row));
  };

  const NEXT = { none: "ascending", ascending: "descending", descending: "none" };
  for (const table of document.querySelectorAll("table.sortable")) {
    const headings = [...table.tHead.rows[0].cells];
    headings.forEach((heading, column) => {
      heading.querySelector("button").addEventListener("click", () => {
        const direction = NEXT[heading.getAttribute("aria-sort") ?? "none"];
        headings.forEach((other) => other.removeAttribute("aria-sort"));
        if (direction !== "none") heading.setAttribute("aria-sort", direction);
        sort(table, column, direction);
      });
    });
  }

  const search = document.querySelector(".search");
  const query = document.getElementById("query");
  const found = document.getElementById("found");
  const entries = [...document.querySelectorAll(".entry")];
  const groups = [...document.querySelectorAll(".group")];
  const contents = new Map(
    [...document.querySelectorAll(".toc li a")].map((link) => [link.hash.slice(1), link.parentElement]),
  );
  const words = new Map();
  const plain = (value) => value.toLowerCase().replaceAll("−", "-");

  const picks = [...document.querySelectorAll("[data-filter]")];
  const folds = [...document.querySelectorAll(".unmeasured")];
  const picked = (entry) =>
    picks.every(({ value, dataset }) => !value || (entry.dataset[dataset.filter] ?? value) === value);

  const filter = () => {
    const wanted = plain(query.value).split(/\s+/).filter(Boolean);
    const some = wanted.length > 0 || picks.some((pick) => pick.value);
    let shown = 0;
    for (const entry of entries) {
      if (!words.has(entry)) words.set(entry, plain(entry.textContent));
      const fits = wanted.every((word) => words.get(entry).includes(word)) && picked(entry);
      entry.hidden = !fits;
      contents.get(entry.id)?.toggleAttribute("hidden", !fits);
      shown += fits;
    }
    for (const group of groups) {
      group.hidden = wanted.length > 0 && !group.querySelector(".entry:not([hidden])");
    }
    for (const fold of folds) fold.open = some && !!fold.querySelector(".entry:not([hidden])");
    found.textContent = wanted.length ? `${shown} of ${entries.length}` : "";
  };
  query.addEventListener("input", filter);
  for (const pick of picks) pick.addEventListener("change", filter);
  query.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    query.value = "";
    filter();
  });
  // Without a script there is nothing to search or filter with.
  for (const part of [search, ...document.querySelectorAll(".filter")]) part.hidden = false;

  if (matchMedia("(max-width: 44rem)").matches) document.querySelector(".toc").open = false;

  // A link to something that is folded away or filtered out opens what hides it.
  const reveal = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    if (target.closest("[hidden]")) {
      query.value = "";
      for (const pick of picks) pick.value = "";
      filter();
    }
    for (let at = target.closest("details"); at; at = at.parentElement.closest("details")) at.open = true;
    target.scrollIntoView();
  };
  window.addEventListener("hashchange", reveal);
  reveal();

  window.addEventListener("beforeprint", () => {
    for (const folded of document.querySelectorAll(".ledger details")) folded.open = true;
  });
})();
