// Sorts the table by the column whose head is pressed; pressed again, the other way.
for (const button of document.querySelectorAll("#table th button")) button.addEventListener("click", () => {
  const head = button.parentElement, column = head.cellIndex, body = document.querySelector("#table tbody");
  const up = head.getAttribute("aria-sort") !== "ascending";
  const key = row => { const v = row.cells[column].dataset.v, n = Number(v); return v === "" ? Infinity : v === "inf" ? Infinity : v === "-inf" ? -Infinity : Number.isNaN(n) ? v : n; };
  const rows = [...body.rows].map(row => [key(row), row]);
  rows.sort(([a], [b]) => (a > b) - (a < b));
  if (!up) rows.reverse();
  body.append(...rows.map(([, row]) => row));
  for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
});
