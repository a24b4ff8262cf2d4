"use strict";
// Column heads become buttons that sort each group of a table; a button above chooses light or dark. The page reads without.

const said = document.createElement("p");
said.className = "status";
said.setAttribute("role", "status");
document.body.append(said);

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
  const rising = head.getAttribute("aria-sort") !== "ascending";
  for (const other of table.tHead.rows[0].cells) other.setAttribute("aria-sort", "none");
  head.setAttribute("aria-sort", rising ? "ascending" : "descending");
  for (const body of table.tBodies) {
    const rows = [...body.rows].filter((row) => row.className === "");
    rows.sort((a, b) => order(key(a, column), key(b, column), rising ? 1 : -1));
    body.append(...rows, ...body.querySelectorAll("tr.total"));
  }
  said.textContent = `${table.caption.textContent}: sorted by ${head.textContent}, ${rising ? "ascending" : "descending"}`;
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
document.querySelector("header").append(theme);
