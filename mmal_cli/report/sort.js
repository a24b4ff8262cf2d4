"use strict";
// Column heads become buttons that sort each group of a table: up, down, as it was. A button above chooses light or dark.
// The page reads without.

const said = document.createElement("p");
said.className = "status";
said.setAttribute("role", "status");
document.body.append(said);

const NEXT = { none: "ascending", ascending: "descending", descending: "none" };
const asWritten = new Map([...document.querySelectorAll("tbody tr")].map((row, place) => [row, place]));

function key(row, column) {
  const cell = row.cells[column];
  if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
  return cell.textContent;
}

function order(a, b, sign) {
  if (a === "" || b === "") return (a === "") - (b === ""); // empty cells stay last
  if (typeof a === "number" && typeof b === "number") return sign * (a - b);
  return sign * String(a).localeCompare(String(b), "en", { numeric: true });
}

function sort(table, head, column) {
  const way = NEXT[head.getAttribute("aria-sort")];
  for (const other of table.tHead.rows[0].cells) other.setAttribute("aria-sort", "none");
  head.setAttribute("aria-sort", way);
  const sign = way === "descending" ? -1 : 1;
  for (const body of table.tBodies) {
    const rows = [...body.rows].filter((row) => row.className === "");
    rows.sort((a, b) => asWritten.get(a) - asWritten.get(b));
    if (way !== "none") rows.sort((a, b) => order(key(a, column), key(b, column), sign));
    body.append(...rows, ...body.querySelectorAll("tr.total"));
  }
  const by = way === "none" ? "in its first order" : `sorted by ${head.textContent}, ${way}`;
  said.textContent = `${table.caption.textContent}: ${by}`;
}

for (const table of document.querySelectorAll("table")) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(table, head, column));
    head.append(button);
    head.setAttribute("aria-sort", "none");
  });
}

const themes = { system: "light dark", light: "light", dark: "dark" };
const theme = document.createElement("button");
theme.type = "button";
theme.className = "theme";
function choose(name) {
  theme.dataset.theme = name;
  theme.textContent = `Colours: ${name}`;
  document.documentElement.style.colorScheme = name === "system" ? "" : themes[name];
}
theme.addEventListener("click", () => {
  const names = Object.keys(themes);
  choose(names[(names.indexOf(theme.dataset.theme) + 1) % names.length]);
});
choose("system");
if (CSS.supports("color", "light-dark(#000, #fff)")) document.querySelector("header").append(theme); // else light alone
