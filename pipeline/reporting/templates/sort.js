// Headings of sortable tables become buttons; without this script the tables stand as they were written.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "descending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "ascending" : "descending");
      const value = (row) => {
        const cell = row.cells[column];
        const text = cell.dataset.order ?? cell.textContent.replace(/,/g, "").replace("\u2212", "-").replace("<", "");
        return parseFloat(text);
      };
      const rows = [...body.rows].filter((row) => !row.classList.contains("reference"));
      const last = [...body.rows].filter((row) => row.classList.contains("reference"));
      rows.sort((a, b) => {
        const [x, y] = [value(a), value(b)];
        const order = Number.isNaN(x) && Number.isNaN(y)
          ? a.cells[column].textContent.localeCompare(b.cells[column].textContent)
          : Number.isNaN(x) ? -1 : Number.isNaN(y) ? 1 : x - y;
        return down ? order : -order;
      });
      body.append(...rows, ...last);
    });
  });
}
