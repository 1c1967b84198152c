// The table of contents: open where it has a column of its own, and the section on the screen marked.
{
  const contents = document.querySelector("nav details");
  const beside = matchMedia("(min-width: 1100px)");
  const fold = () => { contents.open = beside.matches; };
  beside.addEventListener("change", fold);
  fold();
  contents.addEventListener("click", (event) => {
    if (!beside.matches && event.target.closest("a")) contents.open = false;
  });
  addEventListener("DOMContentLoaded", () => {
    const links = [...contents.querySelectorAll("a[href^='#']")];
    const parts = links.map((link) => document.getElementById(link.hash.slice(1)));
    const mark = () => {
      // The last section that begins above a line near the top, which sinks to the bottom over the last screen.
      const below = document.documentElement.scrollHeight - innerHeight - scrollY;
      const line = Math.max(120, innerHeight - below);
      const current = parts.findLastIndex((part) => part.getBoundingClientRect().top < line);
      links.forEach((link) => link.removeAttribute("aria-current"));
      links[Math.max(0, current)].setAttribute("aria-current", "true");
    };
    for (const event of ["scroll", "resize"]) addEventListener(event, mark, { passive: true });
    mark();
  });
}
