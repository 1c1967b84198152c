// Headings of sortable tables become buttons; without this script the tables stand as they were written.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const written = [...body.rows].filter((row) => !row.classList.contains("reference"));
  const references = [...body.rows].filter((row) => row.classList.contains("reference"));
  const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    const turns = head.dataset.first === "ascending" ? ["ascending", "descending"] : ["descending", "ascending"];
    const value = (row) => {
      const cell = row.cells[column];
      const text = cell.dataset.order ?? cell.textContent.replace(/,/g, "").replace("\u2212", "-").replace("<", "");
      return parseFloat(text);
    };
    button.addEventListener("click", () => {
      // The third click brings back the order as written.
      const turn = turns[turns.indexOf(head.getAttribute("aria-sort")) + 1];
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      const rows = [...written];
      if (turn) {
        head.setAttribute("aria-sort", turn);
        const sign = turn === "ascending" ? 1 : -1;
        rows.sort((a, b) => {
          const [x, y] = [value(a), value(b)];
          if (Number.isNaN(x) !== Number.isNaN(y)) return Number.isNaN(x) ? 1 : -1; // what is undefined comes last
          const words = () => a.cells[column].textContent.localeCompare(b.cells[column].textContent);
          return sign * (Number.isNaN(x) ? words() : x - y);
        });
      }
      body.append(...rows, ...references);
    });
  });
}
