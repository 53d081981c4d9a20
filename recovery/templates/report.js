"use strict";
// Progressive: the page is complete without this. Text is only ever set as text, never as markup.
(() => {
  const PAGE = 100;
  const byId = (id) => document.getElementById(id);
  const count = (n) => n.toLocaleString("en");
  document.documentElement.classList.add("js");

  function make(tag, attributes, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value !== "") element.setAttribute(name, value);
    }
    element.append(...children.filter((child) => child !== ""));
    return element;
  }

  function icon(status) {
    const space = "http://www.w3.org/2000/svg";
    const svg = document.createElementNS(space, "svg");
    svg.setAttribute("class", "i c-" + status);
    svg.setAttribute("viewBox", "0 0 12 12");
    svg.setAttribute("aria-hidden", "true");
    const use = document.createElementNS(space, "use");
    use.setAttribute("href", "#m-" + status);
    svg.append(use);
    return svg;
  }

  function toggle(name, n) {
    return make("button", { type: "button", class: "toggle", "aria-expanded": "false", "aria-controls": "d" + n }, name);
  }

  // ---- rows drawn from packed data: the same elements as the macro item_row ----

  function digestOf({ digest, place }) {
    if (!digest) return "";
    const code = make("code", {}, digest);
    return place ? make("a", { href: "#" + place }, code) : code;
  }

  function subTable(caption, heads, lines) {
    if (!lines.length) return "";
    const head = make("tr", {}, ...heads.map((text) => make("th", { scope: "col" }, text)));
    const body = lines.map(([first, ...rest]) =>
      make("tr", {}, make("th", { scope: "row" }, first), ...rest.map((cell) => make("td", {}, cell))));
    return make("div", { class: "wide-table", tabindex: "0", role: "group", "aria-label": caption },
      make("table", {}, make("caption", {}, caption), make("thead", {}, head), make("tbody", {}, ...body)));
  }

  function labelled(label, text) {
    return text ? make("p", { class: "why" }, make("strong", {}, label), " " + text) : "";
  }

  function itemRow(row) {
    const cell = (label, ...children) => make("td", { role: "cell", "data-label": label }, ...children);
    const sub = (text) => (text ? make("span", { class: "sub" }, text) : "");
    const data = { "data-account": row.account, "data-kind": row.kind, "data-verdict": row.verdict, "data-outcome": row.outcome };
    return make("tr", { role: "row", id: "s" + row.n, class: "item", ...data },
      make("th", { scope: "row", role: "rowheader", "data-label": "What" },
        toggle(row.name, row.n), sub(row.kind_word + " " + row.ref)),
      cell("Account", row.account),
      cell("Due", make("span", { class: "when" }, row.due_local), sub(row.due_utc === row.due_local ? "" : row.due_utc)),
      cell("Verdict", icon(row.verdict), row.verdict_word),
      cell("Outcome", icon(row.outcome === "done_before" ? "done" : row.outcome), row.outcome_word),
      cell("Witnesses", make("ul", { class: "plain" }, ...row.witnesses.map((w) => make("li", {}, w.witness + ": " + w.saw)))));
  }

  function detailRow(row) {
    const remedy = row.actions.length || row.actor ? row.remedy + (row.actor ? ", for " + row.actor : "") : "";
    const telling = row.outcome === "done_before" ? "detail" : "detail telling";
    return make("tr", { role: "row", id: "d" + row.n, class: telling }, make("td", { role: "cell", colspan: "6" },
      make("p", { class: "key" }, make("code", {}, [row.account, row.system, row.kind, row.ref].join("/") + "@" + row.due)),
      make("p", { class: "why" }, row.reason),
      labelled("Question:", row.question),
      labelled("Recommended answer:", row.recommended),
      labelled("Remedy:", remedy),
      subTable("Witnesses", ["Witness", "Saw", "Read at", "Completeness", "Detail", "Digest"],
        row.witnesses.map((w) => [w.witness, w.saw, w.at, w.complete, w.detail, digestOf(w)])),
      subTable("Actions", ["Action", "State", "Id", "At", "Effect", "Attempts", "Detail", "Digest"],
        row.actions.map((a) => [a.what, a.state, a.ref, a.at, a.harm + ", " + a.undo, a.attempts, a.detail, digestOf(a)])),
      subTable("Before and after", ["Fact", "Before", "After", "Change"],
        row.facts.map((f) => [f.name, f.before, f.after, f.changed]))));
  }

  // ---- two sources of rows with the same three operations ----

  function packedRows(text) {
    const { fields, rows, values } = JSON.parse(text);
    const place = Object.fromEntries(fields.row.map((name, i) => [name, i]));
    const haystacks = new Array(rows.length);
    const unpack = (names, packed) => Object.fromEntries(names.map((name, i) => [name, valueOf(name, packed[i])]));
    const valueOf = (name, at) => (typeof values[at] === "string"
      ? values[at]
      : values[at].map((part) => unpack(fields[name], values[part])));
    const words = (at) => (typeof values[at] === "string" ? values[at] : values[at].map(words).join(" "));
    return {
      total: rows.length,
      find(terms, wanted) {
        const codes = wanted.map(([field, value]) => [place[field], values.indexOf(value)]);
        const hits = [];
        for (let n = 0; n < rows.length; n += 1) {
          if (!codes.every(([at, code]) => rows[n][at] === code)) continue;
          if (terms.length) {
            haystacks[n] = haystacks[n] || rows[n].map(words).join(" ").toLowerCase();
            if (!terms.every((term) => haystacks[n].includes(term))) continue;
          }
          hits.push(n);
        }
        return hits;
      },
      show(hits, page) {
        const built = hits.slice(page * PAGE, (page + 1) * PAGE).flatMap((n) => {
          const row = unpack(fields.row, rows[n]);
          return [itemRow(row), detailRow(row)];
        });
        byId("rows").replaceChildren(...built);
      },
    };
  }

  function writtenRows() {
    const rows = [...document.querySelectorAll("#rows > .item")].map((item) => ({ item, detail: item.nextElementSibling, text: "" }));
    for (const { item } of rows) {
      const name = item.querySelector(".name");
      name.replaceWith(toggle(name.textContent, item.id.slice(1)));
    }
    return {
      total: rows.length,
      find(terms, wanted) {
        return rows.flatMap((row, n) => {
          if (!wanted.every(([field, value]) => row.item.dataset[field] === value)) return [];
          if (terms.length) row.text = row.text || (row.item.textContent + " " + row.detail.textContent).toLowerCase();
          return terms.every((term) => row.text.includes(term)) ? [n] : [];
        });
      },
      show(hits, page) {
        const order = new Map(hits.map((n, at) => [n, at]));
        rows.forEach(({ item, detail }, n) => {
          const away = order.has(n) && Math.floor(order.get(n) / PAGE) !== page;
          for (const row of [item, detail]) {
            row.hidden = !order.has(n);
            row.classList.toggle("away", away);
          }
        });
      },
    };
  }

  // ---- filter, pages, details ----

  const data = byId("data");
  let source;
  const form = document.querySelector(".filters");
  const selects = [...form.querySelectorAll("select")];
  let hits = [];
  let page = 0;

  function showPage() {
    source.show(hits, page);
    const pages = Math.max(1, Math.ceil(hits.length / PAGE));
    byId("pages").hidden = pages === 1;
    byId("page").textContent = "Page " + count(page + 1) + " of " + count(pages);
    byId("previous").disabled = page === 0;
    byId("next").disabled = page >= pages - 1;
    byId("shown").textContent = hits.length === source.total
      ? count(source.total) + " slots."
      : count(hits.length) + " of " + count(source.total) + " slots match.";
    document.documentElement.classList.toggle("filtered", hits.length !== source.total);
  }

  function filter() {
    source = source || (data ? packedRows(data.textContent) : writtenRows());
    const terms = byId("q").value.toLowerCase().split(/\s+/).filter(Boolean);
    hits = source.find(terms, selects.filter((s) => s.value).map((s) => [s.dataset.field, s.value]));
    page = 0;
    showPage();
  }

  let waiting = 0;
  byId("q").addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(filter, 120); });
  selects.forEach((select) => select.addEventListener("change", filter));
  form.addEventListener("submit", (event) => { event.preventDefault(); filter(); });
  form.addEventListener("reset", () => setTimeout(filter, 0));
  byId("previous").addEventListener("click", () => { page -= 1; showPage(); byId("slots").scrollIntoView(); });
  byId("next").addEventListener("click", () => { page += 1; showPage(); byId("slots").scrollIntoView(); });
  byId("rows").addEventListener("click", (event) => {
    const button = event.target.closest(".toggle");
    if (!button) return;
    const open = byId(button.getAttribute("aria-controls")).classList.toggle("open");
    button.setAttribute("aria-expanded", String(open));
  });
  document.querySelectorAll(".show-account").forEach((link) => { link.hidden = false; });

  // `#account=NAME` is the page of one account: a link that can be mailed, and what is printed from it.
  function showAccount() {
    const name = location.hash.startsWith("#account=") && decodeURIComponent(location.hash.slice(9));
    if (!name) return;
    form.reset();
    byId("f-account").value = name;
    filter();
    byId("slots").scrollIntoView();
    byId("f-account").focus({ preventScroll: true });
  }
  addEventListener("hashchange", showAccount);

  // A digest in a row leads to its evidence, which opens.
  function openTarget() {
    const target = location.hash.length > 1 && byId(decodeURIComponent(location.hash.slice(1)));
    if (!target || !target.matches("details")) return;
    target.open = true;
    target.parentElement.closest("details").open = true;
    target.scrollIntoView();
  }
  addEventListener("hashchange", openTarget);
  openTarget();

  const copy = byId("copy");
  if (copy) {
    copy.hidden = false;
    copy.addEventListener("click", async () => {
      const message = byId("message");
      message.select();
      try {
        await navigator.clipboard.writeText(message.value);
      } catch {
        document.execCommand("copy");
      }
      byId("copied").textContent = "Copied.";
    });
  }
  // A large report is read after the first paint.
  const begin = () => { filter(); showAccount(); };
  if (data) requestAnimationFrame(() => setTimeout(begin, 0));
  else begin();
})();
