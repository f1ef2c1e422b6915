'use strict';
// Marks each table that has more columns than fit, so that the page can say that they scroll.
(() => {
  const look = (box) => {
    box.classList.toggle('scrolls', box.scrollWidth > box.clientWidth + 1);
    box.classList.toggle('ended', box.scrollLeft + box.clientWidth >= box.scrollWidth - 1);
  };
  const observer = new ResizeObserver((entries) => entries.forEach((entry) => look(entry.target)));
  for (const box of document.querySelectorAll('.scroll')) {
    observer.observe(box); // also when it is unfolded
    box.addEventListener('scroll', () => look(box), { passive: true });
  }
})();
