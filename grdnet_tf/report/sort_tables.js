// A click on a heading, or Enter, sorts its table: the highest first, then the lowest; what is no number goes last.
for (const table of document.querySelectorAll("table")) {
  table.querySelectorAll("th[data-sort]").forEach((head, column) => head.addEventListener("click", () => {
    const body = table.tBodies[0], down = head.dataset.sort !== "down";
    table.querySelectorAll("th[data-sort]").forEach(other => { other.dataset.sort = ""; });
    head.dataset.sort = down ? "down" : "up";
    const value = row => {
      const text = row.cells[column].textContent, number = parseFloat(text);
      return isNaN(number) ? text : number;
    };
    body.append(...[...body.rows].sort((a, b) => {
      const x = value(a), y = value(b);
      const order = typeof x === typeof y ? (x < y ? 1 : x > y ? -1 : 0) : typeof x === "number" ? -1 : 1;
      return down ? order : -order;
    }));
  }));
  table.addEventListener("keydown", event => { if (event.key === "Enter" && event.target.dataset.sort !== undefined) event.target.click(); });
}
