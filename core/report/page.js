"use strict";
// Charts, the verdict browser, and printing. Texts of models and people are set by textContent alone.
(() => {
  const PAGE = 10, CLIPPED = 1200, MOST_WORDS = 2000, BLOCK = 5000, WAIT_MS = 150, PRINTED = 20000;
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const make = (tag, properties, ...children) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(properties || {})) {
      if (name in made) made[name] = value;
      else made.setAttribute(name, value);
    }
    for (const child of children) if (child !== null && child !== "") made.append(child);
    return made;
  };

  // ---- charts
  const figures = read("figure-data");
  const coarse = matchMedia("(pointer: coarse)").matches;

  function scalable(place) {
    // On paper a chart is scaled as it stands: its drawing gets a viewBox, and its box the same shape.
    const box = place.querySelector(".svg-container");
    const width = place._fullLayout.width, height = place._fullLayout.height;
    box.style.setProperty("--drawn-width", `${width}px`);
    box.style.setProperty("--drawn-ratio", `${width} / ${height}`);
    for (const svg of place.querySelectorAll(".main-svg")) svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  }

  function draw(place) {
    if (place.dataset.drawn) return Plotly.Plots.resize(place);
    place.dataset.drawn = "yes";
    const figure = figures[place.dataset.figure];
    const layout = { ...figure.layout, autosize: true, dragmode: coarse ? false : "zoom" };
    return Plotly.newPlot(place, figure.data, layout, { displayModeBar: false, responsive: true }).then(() => {
      scalable(place);
      place.on("plotly_afterplot", () => scalable(place));
    });
  }

  for (const group of document.querySelectorAll(".group")) {
    const show = (key) => {
      for (const figure of group.querySelectorAll("figure")) {
        figure.hidden = figure.id !== `figure-${key}`;
        if (!figure.hidden) draw(figure.querySelector(".plot"));
      }
    };
    const choice = group.querySelector(".switch");
    if (choice) choice.addEventListener("change", () => show(choice.value));
    show(choice ? choice.value : group.querySelector(".plot").dataset.figure);
  }

  // ---- differences of words: longest matching blocks, as Python's difflib finds them
  const pieces = (text) => text.match(/\s*\S+\s*|^\s+$/g) || [];
  const bare = (word) => word.replace(/[^\p{L}\p{N}_]+/gu, "").toLowerCase() || word.trim();

  function longest(a, places, alo, ahi, blo, bhi) {
    // lengths[j + 1]: of the longest match that ends with the word before i and with word j
    let best = [alo, blo, 0], lengths = new Int32Array(bhi + 1), next = new Int32Array(bhi + 1);
    for (let i = alo; i < ahi; i++) {
      next.fill(0, blo);
      for (const j of places.get(a[i]) || []) {
        if (j < blo) continue;
        if (j >= bhi) break;
        const size = (next[j + 1] = lengths[j] + 1);
        if (size > best[2]) best = [i - size + 1, j - size + 1, size];
      }
      [lengths, next] = [next, lengths];
    }
    return best;
  }

  function blocks(a, b) {
    const places = new Map(), found = [], open = [[0, a.length, 0, b.length]];
    b.forEach((word, j) => places.has(word) ? places.get(word).push(j) : places.set(word, [j]));
    while (open.length) {
      const [alo, ahi, blo, bhi] = open.pop();
      const [i, j, size] = longest(a, places, alo, ahi, blo, bhi);
      if (!size) continue;
      found.push([i, j, size]);
      if (alo < i && blo < j) open.push([alo, i, blo, j]);
      if (i + size < ahi && j + size < bhi) open.push([i + size, ahi, j + size, bhi]);
    }
    return [...found.sort((one, other) => one[0] - other[0] || one[1] - other[1]), [a.length, b.length, 0]];
  }

  function differences(reference, text) {
    const theirs = pieces(reference), ours = pieces(text), found = [];
    const before = theirs.slice(0, MOST_WORDS).map(bare), after = ours.slice(0, MOST_WORDS).map(bare);
    let i = 0, j = 0;
    for (const [x, y, size] of blocks(before, after)) {
      if (i < x) found.push([` ${theirs.slice(i, x).join("").trim()} `, "missing"]);
      if (j < y) found.push([ours.slice(j, y).join(""), "added"]);
      if (size) found.push([ours.slice(y, y + size).join(""), "same"]);
      [i, j] = [x + size, y + size];
    }
    if (ours.length > MOST_WORDS) found.push([ours.slice(MOST_WORDS).join(""), "added"]);
    return found;
  }

  // ---- the verdict browser
  const root = document.getElementById("verdict-browser");
  const ELEMENTS = { same: "mark", added: "ins", missing: "del" };
  const WORDS = { "shared words": ["same"], differences: ["added", "missing"], plain: [] };

  function pieced(reference, text, words) {
    if (words === "plain" || reference === null || !reference.trim()) return [[text, ""]];
    const shown = WORDS[words];
    return differences(reference, text).filter(([, kind]) => kind !== "missing" || shown.includes("missing"))
      .map(([piece, kind]) => [piece, shown.includes(kind) ? kind : ""]);
  }

  // The first signs of a text, `size` of them or one more, so that no pair of surrogates is parted.
  const first = (text, size) => text.slice(0, /[\ud800-\udbff]/.test(text.charAt(size - 1)) ? size + 1 : size);

  function fill(box, parts, most) {
    box.replaceChildren();
    for (const [piece, kind] of parts) {
      if (most <= 0) return;
      const shown = first(piece, most);
      // A very long piece stands in blocks, which are laid out when they come into sight.
      const blocks = shown.length > 2 * BLOCK ? blocked(shown) : [shown];
      for (const text of blocks) box.append(kind || blocks.length > 1 ? make(ELEMENTS[kind] || "span", { className: blocks.length > 1 ? "block" : "", textContent: text }) : text);
      most -= piece.length;
    }
  }

  function blocked(text) {
    const found = [];
    while (text) {
      const end = text.length > BLOCK ? text.lastIndexOf(" ", BLOCK) + 1 : 0;
      found.push(first(text, end || BLOCK));
      text = text.slice(found[found.length - 1].length);
    }
    return found;
  }

  function textBox(number, table, reference, words) {
    const text = table.texts[number], box = make("div", { className: "text", dir: "auto" });
    if (!text.trim()) return make("div", { className: "text" }, make("em", { textContent: "(empty answer)" }));
    const parts = pieced(reference, text, words), cut = table.cut[number];
    const length = parts.reduce((sum, [piece]) => sum + piece.length, 0);
    fill(box, parts, CLIPPED);
    const outer = make("div", {}, box);
    const note = cut ? ` The first ${text.length.toLocaleString("en")} of ${cut.toLocaleString("en")} characters; the zip has all.` : "";
    if (length > CLIPPED) {
      const label = `Show all ${length.toLocaleString("en")} characters`;
      const button = make("button", { type: "button", textContent: label, "aria-expanded": "false" });
      button.addEventListener("click", () => {
        const whole = box.classList.toggle("whole");
        fill(box, parts, whole ? Infinity : CLIPPED);
        if (whole) box.tabIndex = 0;
        button.textContent = whole ? "Show less" : label;
        button.setAttribute("aria-expanded", String(whole));
      });
      outer.append(button);
    }
    if (note) outer.append(make("p", { className: "quiet", textContent: note.trim() }));
    return outer;
  }

  function browser(root, table) {
    const column = Object.fromEntries(table.columns.map((name, place) => [name, place]));
    const name = (row, of) => table.names[of][row[column[of]]];
    const text = (row, of) => table.texts[row[column[of]]];
    const lower = [];
    const state = { page: 1, text: "", orders: "all", words: "shared words", sort: "as judged" };
    const EXACT = { category: "Category", candidate: "Candidate", judge: "Judge", verdict: "Verdict", length: "Candidate's length beside the base's" };
    const SEARCHED = ["question", "reference", "base_prediction", "candidate_prediction"];
    for (const of of Object.keys(EXACT)) state[of] = "all";

    function containing(wanted) {
      if (!lower.length) for (const each of table.texts) lower.push(each.toLowerCase());
      const hits = new Set();
      lower.forEach((each, number) => { if (each.includes(wanted)) hits.add(number); });
      return (row) => SEARCHED.some((of) => hits.has(row[column[of]]));
    }

    function found() {
      let rows = table.rows;
      for (const of of Object.keys(EXACT)) {
        if (state[of] !== "all") rows = rows.filter((row) => name(row, of) === state[of]);
      }
      if (state.orders !== "all") rows = rows.filter((row) => (name(row, "first") === name(row, "second")) === (state.orders === "agree"));
      if (state.text.trim()) rows = rows.filter(containing(state.text.trim().toLowerCase()));
      const sign = { "largest score difference": -1, "smallest score difference": 1 }[state.sort];
      const of = column.difference;
      return sign ? [...rows].sort((one, other) => sign * (one[of] - other[of])) : rows;
    }

    const count = make("p", { className: "quiet", role: "status" }), list = make("div", {});
    const turns = [];

    function answer(title, number, reference) {
      return make("div", {}, make("h4", { textContent: title }), textBox(number, table, reference, state.words));
    }

    function card(row) {
      const verdict = name(row, "verdict"), base = name(row, "base"), reference = text(row, "reference");
      const said = `${name(row, "category")} · ${name(row, "candidate")} against ${base} · ${name(row, "judge")}`;
      const red = table.red.includes(name(row, "judge")) ? " · the audit card of this judge is red" : "";
      const head = make("header", {}, make("span", { className: `outcome ${verdict}`, textContent: verdict }), make("span", { className: "quiet", textContent: said + red }));
      const sides = [
        answer("Reference", row[column.reference], null),
        answer(base === "base" ? "Base" : base, row[column.base_prediction], reference),
        answer(name(row, "candidate"), row[column.candidate_prediction], reference),
      ];
      const orders = `Base shown first: ${name(row, "first") || "not asked"}. Candidate shown first: ${name(row, "second") || "not asked"}.`;
      const asked = make("div", { className: "asked" }, textBox(row[column.question], table, null, "plain"));
      const made = make("article", { className: "verdict" }, head, asked, make("div", { className: "three" }, ...sides), make("p", { className: "quiet", textContent: orders }));
      const replies = make("details", {}, make("summary", { textContent: "Replies of the judge" }));
      const more = [["first_reply", "Base shown first"], ["second_reply", "Candidate shown first"], ["rationale", "Reasons"], ["reason", "Why there is no verdict"]];
      for (const [of, title] of more) if (text(row, of)) replies.append(make("h4", { textContent: title }), textBox(row[column[of]], table, null, "plain"));
      if (replies.children.length > 1) made.append(replies);
      return made;
    }

    function show(focus) {
      const rows = found(), pages = Math.max(1, Math.ceil(rows.length / PAGE));
      state.page = Math.min(Math.max(1, state.page), pages);
      count.textContent = `${rows.length.toLocaleString("en")} of ${table.rows.length.toLocaleString("en")} verdicts. Page ${state.page} of ${pages}. ${table.said}`.trim();
      list.replaceChildren(...rows.slice((state.page - 1) * PAGE, state.page * PAGE).map(card));
      for (const turn of turns) turn(pages);
      if (focus) { count.tabIndex = -1; count.focus({ preventScroll: true }); root.scrollIntoView(); }
    }

    function choice(title, key, options) {
      const select = make("select", { id: `choose-${key}` });
      for (const option of options) select.append(make("option", { value: option, textContent: option }));
      select.addEventListener("change", () => { state[key] = select.value; if (key !== "words") state.page = 1; show(); });
      return make("div", {}, make("label", { htmlFor: select.id, textContent: title }), select);
    }

    function turner() {
      const go = (step) => () => { state.page += step; show(true); };
      const back = make("button", { type: "button", textContent: "Previous page" }), on = make("button", { type: "button", textContent: "Next page" });
      const said = make("span", { className: "quiet" });
      back.addEventListener("click", go(-1));
      on.addEventListener("click", go(1));
      turns.push((pages) => {
        back.disabled = state.page === 1;
        on.disabled = state.page === pages;
        said.textContent = `Page ${state.page} of ${pages}`;
      });
      return make("div", { className: "turn" }, back, on, said);
    }

    const search = make("input", { type: "search", id: "search", placeholder: "text in question or answer" });
    let waiting = 0;
    search.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(() => { state.text = search.value; state.page = 1; show(); }, WAIT_MS);
    });
    const filters = make("div", { className: "filters" }, make("div", {}, make("label", { htmlFor: "search", textContent: "Contains" }), search));
    for (const [of, title] of Object.entries(EXACT)) filters.append(choice(title, of, ["all", ...table.names[of]]));
    filters.append(choice("Orders", "orders", ["all", "agree", "disagree"]));
    filters.append(choice("Sort", "sort", ["as judged", "largest score difference", "smallest score difference"]));
    filters.append(choice("Words", "words", Object.keys(WORDS)));
    root.append(filters, count, turner(), list, turner());
    show();
  }

  if (root) browser(root, read("verdict-data"));

  // ---- on paper all that folds is open, but for very long texts
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")].filter((each) => each.textContent.length < PRINTED);
    for (const each of opened) each.open = true;
  });
  addEventListener("afterprint", () => { for (const each of opened) each.open = false; });
})();
