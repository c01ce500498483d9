"use strict";

const root = document.documentElement;
const theme = document.getElementById("theme");
const prefersDark = matchMedia("(prefers-color-scheme: dark)");

function isDark() {
  return (root.dataset.theme || (prefersDark.matches ? "dark" : "light")) === "dark";
}

function nameTheme() {
  theme.textContent = isDark() ? "Light colours" : "Dark colours";
}

theme.addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  nameTheme();
});
prefersDark.addEventListener("change", nameTheme);
theme.hidden = false;
nameTheme();

addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});

function shownRows(table) {
  return [...table.tBodies[0].rows].filter((row) => !row.hidden).length;
}

function keyOf(row, column) {
  const cell = row.cells[column];
  return "value" in cell.dataset ? cell.dataset.value : cell.textContent.trim();
}

function compare(first, second) {
  const numbers = [Number(first), Number(second)];
  if (first !== "" && second !== "" && !numbers.some(Number.isNaN)) return numbers[0] - numbers[1];
  return first.localeCompare(second, "en", { numeric: true });
}

function sort(table, column, direction) {
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const defined = rows.filter((row) => keyOf(row, column) !== "");
  const undefinedRows = rows.filter((row) => keyOf(row, column) === ""); // these stay last either way
  defined.sort((a, b) => direction * compare(keyOf(a, column), keyOf(b, column)));
  body.append(...defined, ...undefinedRows);
}

for (const table of document.querySelectorAll("table.sortable")) {
  const tools = document.getElementById(table.dataset.tools);
  const status = tools.querySelector("[role=status]");
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, column) => {
    if ("fixed" in header.dataset) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => {
      const before = header.getAttribute("aria-sort");
      const ascending = before ? before === "descending" : true;
      for (const other of headers) other.removeAttribute("aria-sort");
      header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      sort(table, column, ascending ? 1 : -1);
      status.textContent = `Sorted by ${button.textContent.trim()}, ${ascending ? "smallest" : "largest"} first`;
    });
  });
  const field = tools.querySelector("input");
  field.addEventListener("input", () => {
    const wanted = field.value.trim().toLowerCase();
    for (const row of table.tBodies[0].rows) {
      row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted);
    }
    status.textContent = `${shownRows(table)} of ${table.tBodies[0].rows.length} attributes`;
  });
  tools.hidden = false;
}

for (const frame of document.querySelectorAll(".scroll")) {
  const mark = () => {
    const hidden = frame.scrollWidth - frame.clientWidth;
    frame.classList.toggle("is-wide", hidden > 1);
    frame.classList.toggle("goes-on", hidden - frame.scrollLeft > 1);
  };
  frame.addEventListener("scroll", mark, { passive: true });
  new ResizeObserver(mark).observe(frame); // also when its details are opened
}
