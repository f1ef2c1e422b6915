'use strict';
// In the head, so that the page is never painted in the wrong theme.
(() => {
  const names = ['system', 'light', 'dark'];
  const root = document.documentElement;
  const read = () => { try { return localStorage.getItem('theme'); } catch { return null; } };
  const write = (name) => { try { localStorage.setItem('theme', name); } catch { /* file:// may forbid it */ } };
  let name = names.includes(read()) ? read() : 'system';
  const apply = () => {
    if (name === 'system') delete root.dataset.theme; else root.dataset.theme = name;
    const button = document.getElementById('theme');
    if (button) button.textContent = `Theme: ${name}`;
  };
  apply();
  document.addEventListener('DOMContentLoaded', () => {
    apply();
    document.getElementById('theme').addEventListener('click', () => {
      name = names[(names.indexOf(name) + 1) % names.length];
      write(name);
      apply();
    });
  });
})();
