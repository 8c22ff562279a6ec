"use strict";
// Sorting, filtering and searching of tables. Everything can be read without this.

const LONG = 12; // rows from which on a table has a search field
const FEW = 12; // different values up to which a column of words has a list to choose from

const text = (cell) => (cell ? cell.textContent.trim().replace(/\s+/g, " ") : "");

// What a cell sorts by: its number where it begins with one, else its words; null for a dash.
function key(cell) {
  if (!cell || cell.querySelector(".absent")) return null;
  const shown = cell.dataset.sort ?? text(cell.querySelector(".value") ?? cell);
  const number = shown.replace(/\u2212/g, "-").replace(/,/g, "").match(/^[\u25b2\u25bc\u2248\u2260+\s]*(-?\d+(\.\d+)?(e[-+]?\d+)?)/i);
  return number ? Number(number[1]) : shown || null;
}

function compare(one, other) {
  if (one === null || other === null) return (one === null) - (other === null);
  if (typeof one === "number" && typeof other === "number") return one - other;
  return String(one).localeCompare(String(other), undefined, { numeric: true });
}

function sort(table, head, column) {
  const descending = head.getAttribute("aria-sort") === "ascending";
  for (const other of table.tHead.querySelectorAll("[aria-sort]")) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", descending ? "descending" : "ascending");
  table.classList.add("sorted");
  const rows = [...table.tBodies[0].rows].map((row) => [key(row.cells[column]), row]);
  rows.sort(([one], [other]) => (descending && one !== null && other !== null ? compare(other, one) : compare(one, other)));
  table.tBodies[0].append(...rows.map(([, row]) => row));
}

function makeSortable(table) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    if (!text(head)) return;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.title = "Sort";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(table, head, column));
    head.append(button);
  });
}

// A field to search in, and a list for each column of few different words.
function makeSearchable(table, label) {
  const rows = [...table.tBodies[0].rows];
  const tools = document.createElement("p");
  tools.className = "tools";
  const field = Object.assign(document.createElement("input"), { type: "search", placeholder: "Search" });
  field.setAttribute("aria-label", `Search: ${label}`);
  const said = document.createElement("span");
  said.setAttribute("role", "status");
  const lists = [];
  const choose = () => {
    const wanted = field.value.toLowerCase();
    let shown = 0;
    for (const row of rows) {
      const fits = lists.every(([list, column]) => !list.value || text(row.cells[column]) === list.value);
      row.hidden = !fits || !text(row).toLowerCase().includes(wanted);
      shown += !row.hidden;
    }
    said.textContent = shown === rows.length ? "" : `${shown} of ${rows.length} rows`;
  };
  tools.append(field);
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const values = [...new Set(rows.map((row) => text(row.cells[column])))];
    if ((column && !head.classList.contains("words")) || values.length < 2 || values.length > FEW) return;
    const list = document.createElement("select");
    list.setAttribute("aria-label", `${text(head)}: ${label}`);
    list.append(new Option(`${text(head)}: all`, ""), ...values.map((value) => new Option(value, value)));
    list.addEventListener("change", choose);
    lists.push([list, column]);
    tools.append(list);
  });
  field.addEventListener("input", choose);
  tools.append(said);
  table.closest(".scroll").before(tools);
}

// A link into a folded part opens it.
function unfold() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let part = target?.closest("details"); part; part = part.parentElement.closest("details")) part.open = true;
  target?.scrollIntoView();
}

function addFoldAll() {
  const folds = [...document.querySelectorAll("main details")];
  const first = document.querySelector("details.part");
  if (!first) return;
  const button = Object.assign(document.createElement("button"), { type: "button", className: "button" });
  const label = () => (button.textContent = folds.every((fold) => fold.open) ? "Fold all" : "Unfold all");
  button.addEventListener("click", () => {
    const open = !folds.every((fold) => fold.open);
    for (const fold of folds) fold.open = open;
    label();
  });
  label();
  const tools = Object.assign(document.createElement("p"), { className: "tools" });
  tools.append(button);
  first.before(tools);
}

addEventListener("DOMContentLoaded", () => {
  for (const box of document.querySelectorAll(".table")) {
    const table = box.querySelector("table");
    if (!table?.tHead || table.querySelector("[rowspan]")) continue;
    const label = box.querySelector("[aria-label]").getAttribute("aria-label");
    if (table.tBodies[0].rows.length > LONG) makeSearchable(table, label);
    if (table.tBodies[0].rows.length > 1) makeSortable(table);
  }
  addFoldAll();
  addEventListener("hashchange", unfold);
  unfold();
});
