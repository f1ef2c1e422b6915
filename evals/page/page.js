'use strict';
// The sample browser. Model text is only ever set as textContent; the page's policy runs no other script.
(() => {
  const data = JSON.parse(document.getElementById('samples-data').textContent);
  const PAGE = 50; // samples in the list at a time
  const $ = (id) => document.getElementById(id);

  // ---- what the rows of the JSON are ------------------------------------------------------------------------
  const samples = data.samples.map((row, index) => {
    const [run, combination, generation, setting, k, skills, topic, text, cut, votes, reasons, points, full,
      sentences, named, decoy, detail] = row;
    return { index, run, combination, generation, setting, k, skills, topic, text, cut, votes, reasons, points, full,
      sentences, named, decoy, detail, given: votes.filter((vote) => vote) };
  });
  const disagrees = (sample) => new Set(sample.given).size > 1;
  const key = (sample) => [data.runs[sample.run].name, sample.combination, sample.generation].map(encodeURIComponent).join('/');
  const hash = (sample) => '#sample=' + key(sample);
  const byKey = new Map(samples.map((sample) => [key(sample), sample]));
  const siblings = new Map();
  for (const sample of samples) {
    const name = sample.combination;
    if (!siblings.has(name)) siblings.set(name, []);
    siblings.get(name).push(sample);
  }
  let lowered = null; // made at the first search
  const searched = (index) => {
    lowered ??= samples.map((s) => [s.combination, data.topics[s.topic], ...s.skills.map((i) => data.skills[i]), s.text]
      .join('\n').toLowerCase());
    return lowered[index];
  };

  // ---- elements -----------------------------------------------------------------------------------------------
  const el = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name === 'class') element.className = value; else element.setAttribute(name, value);
    }
    for (const child of children) if (child !== null && child !== undefined) element.append(child);
    return element;
  };
  const HIDDEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu;
  const code = (c) => '\\u' + c.codePointAt(0).toString(16).padStart(4, '0');
  const plain = (text) => text.replace(HIDDEN, (c) => (c === '\n' || c === '\t' ? c : code(c)));
  // Text with its control and format characters spelled out, so that none of them acts or hides.
  const shown = (text) => {
    const parts = document.createDocumentFragment();
    let from = 0;
    for (const match of text.matchAll(HIDDEN)) {
      if (match[0] === '\n' || match[0] === '\t') continue;
      parts.append(text.slice(from, match.index), el('span', { class: 'hidden-character' }, code(match[0])));
      from = match.index + match[0].length;
    }
    parts.append(text.slice(from));
    return parts;
  };
  const cutNote = (count) => el('span', { class: 'cut' }, ` … ${count.toLocaleString('en')} more characters are not in this page`);

  // The graded text with the names of its skills marked: the authors' substring rule.
  const highlighted = (sample) => {
    const { text } = sample;
    const lower = text.toLowerCase();
    const names = sample.skills.map((i) => data.skills[i].split('(')[0].trim().toLowerCase()).filter((name) => name);
    const found = [];
    if (lower.length === text.length) { // some characters have a longer lower case; then positions would be wrong
      for (const name of names) {
        for (let at = lower.indexOf(name); at >= 0; at = lower.indexOf(name, at + 1)) found.push([at, at + name.length]);
      }
    }
    found.sort((a, b) => a[0] - b[0]);
    const parts = document.createDocumentFragment();
    let from = 0;
    for (const [start, stop] of found) {
      if (start < from) continue;
      parts.append(shown(text.slice(from, start)), el('mark', { title: 'skill named aloud' }, shown(text.slice(start, stop))));
      from = stop;
    }
    parts.append(shown(text.slice(from)));
    if (sample.cut) parts.append(cutNote(sample.cut));
    return parts;
  };

  // ---- filters ------------------------------------------------------------------------------------------------
  const filters = {
    run: $('f-run'), setting: $('f-setting'), k: $('f-k'), marks: $('f-marks'), skill: $('f-skill'), votes: $('f-votes'),
    raw: $('f-raw'), search: $('f-search'),
  };
  const options = (select, pairs) => pairs.forEach(([value, text]) => select.append(el('option', { value }, plain(text))));
  options(filters.run, data.runs.map((run, i) => [i, run.label]));
  options(filters.setting, data.settings.map((name, i) => [i, name.replaceAll('_', '-')]));
  options(filters.k, [...new Set(samples.map((s) => s.k))].sort((a, b) => a - b).map((k) => [k, `k = ${k}`]));
  const asked = new Set(samples.flatMap((s) => s.skills)); // decoys are skills, too
  options(filters.skill, data.skills.map((name, i) => [i, name]).filter(([i]) => asked.has(i))
    .sort((a, b) => a[1].localeCompare(b[1])));

  let matching = samples;
  let current = null;
  let first = 0; // index in `matching` of the first sample in the list

  const MARKS = {
    full: (s) => s.full === 1,
    skills: (s) => s.full === 0 && s.points && !s.points.slice(0, s.k).includes('0'),
    partial: (s) => s.full === 0,
    missing: (s) => s.points === 0,
  };
  const VOTES = {
    split: disagrees,
    unanimous: (s) => s.given.length > 0 && !disagrees(s),
    missing: (s) => s.votes.some((vote) => !vote) || s.votes.length === 0,
    named: (s) => s.named.includes('1'),
    decoy: (s) => s.decoy !== 0,
    fooled: (s) => s.decoy !== 0 && s.decoy[2] === 1,
  };
  const filter = () => {
    const words = filters.search.value.toLowerCase().trim();
    const number = (select) => (select.value === '' ? null : Number(select.value));
    const [run, setting, k, skill] = [filters.run, filters.setting, filters.k, filters.skill].map(number);
    const marks = MARKS[filters.marks.value];
    const votes = VOTES[filters.votes.value];
    matching = samples.filter((s) => (run === null || s.run === run) && (setting === null || s.setting === setting)
      && (k === null || s.k === k) && (skill === null || s.skills.includes(skill)) && (!marks || marks(s))
      && (!votes || votes(s)) && (!filters.raw.checked || s.detail >= 0) && (!words || searched(s.index).includes(words)));
    first = 0;
    showList();
  };

  // ---- the list -----------------------------------------------------------------------------------------------
  const badge = (sample) => {
    if (sample.points === 0) return el('span', { class: 'badge missing' }, 'missing');
    const earned = [...sample.points].filter((point) => point === '1').length;
    const text = sample.full ? `★ ${earned}/${sample.points.length}` : `${earned}/${sample.points.length}`;
    return el('span', { class: sample.full ? 'badge full' : 'badge' }, text);
  };
  const showList = () => {
    const part = matching.slice(first, first + PAGE);
    $('list').replaceChildren(...part.map((sample) => el('li', {}, el('a',
      { href: hash(sample), 'aria-current': sample === current ? 'true' : 'false' },
      el('span', { class: 'item-head' },
        el('span', { class: 'item-id' }, plain(`${sample.combination} · ${sample.generation}`)),
        disagrees(sample) ? el('span', { class: 'badge', title: 'the votes differ' }, '≠') : null, badge(sample)),
      el('span', { class: 'item-text' }, plain(sample.text.slice(0, 140)).replace(/\s+/g, ' ')),
      el('span', { class: 'item-run' }, plain(data.runs[sample.run].label))))));
    const last = first + part.length;
    $('count').textContent = matching.length === 0 ? 'No sample matches.'
      : `${(first + 1).toLocaleString('en')}–${last.toLocaleString('en')} of ${matching.length.toLocaleString('en')}`;
    $('previous').disabled = first === 0;
    $('next').disabled = last >= matching.length;
  };
  const turn = (pages) => { first = Math.max(0, first + pages * PAGE); showList(); $('list').scrollTop = 0; };

  // ---- one sample ---------------------------------------------------------------------------------------------
  const votesTable = (sample) => {
    const names = [...sample.skills.map((i) => data.skills[i]), ...data.criteria];
    const head = el('tr', {}, el('th', { scope: 'col' }, 'criterion'),
      ...sample.votes.map((_, i) => el('th', { scope: 'col' }, `vote ${i + 1}`)), el('th', { scope: 'col' }, 'counts'), el('th', { scope: 'col' }, 'remark'));
    const point = (value) => (value === '1' ? el('span', { class: 'earned' }, '✓ 1') : el('span', { class: 'lost' }, '✗ 0'));
    const rows = names.map((name, i) => {
      const given = new Set(sample.given.map((vote) => vote[i]));
      const remarks = [];
      if (given.size > 1) remarks.push('votes differ');
      if (i < sample.k && sample.named[i] === '1') remarks.push('named aloud: earns nothing');
      if (i === sample.k + 2) remarks.push(`${sample.sentences} sentence${sample.sentences === 1 ? '' : 's'} counted`);
      return el('tr', given.size > 1 ? { class: 'split' } : {}, el('th', { scope: 'row' }, plain(name)),
        ...sample.votes.map((vote) => el('td', {}, vote ? point(vote[i]) : '–')),
        el('td', {}, sample.points ? point(sample.points[i]) : '–'), el('td', { class: 'remark' }, remarks.join('; ')));
    });
    return el('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'votes for each criterion' },
      el('table', { class: 'votes' }, el('caption', {}, `Votes of ${plain(data.runs[sample.run].grader)}`),
        el('thead', {}, head), el('tbody', {}, ...rows)));
  };
  const rebuilt = (parts, sample) => parts.map((part) => {
    if (typeof part === 'string') return part;
    if (Array.isArray(part)) return part;
    if (part >= 0) return data.strings[part];
    const names = sample.skills.map((i) => data.skills[i]);
    if (part === -1) return sample.text;
    if (part === -2) return names.join(', ');
    if (part === -3) return data.topics[sample.topic];
    return names.map((name) => 'Correctly illustrates ' + name.trim().toLowerCase()).join(', ');
  });
  const folded = (title, parts, sample) => {
    if (!parts || parts.length === 0) return null;
    const pre = el('pre', { dir: 'auto', tabindex: '0' }); // it scrolls, so the keyboard must reach it
    const box = el('details', {}, el('summary', {}, title), pre);
    box.addEventListener('toggle', () => { // built when first opened
      if (!box.open || pre.firstChild) return;
      let text = '';
      for (const part of rebuilt(parts, sample)) {
        if (Array.isArray(part)) { pre.append(shown(text), cutNote(part[0])); text = ''; } else text += part;
      }
      pre.append(shown(text));
    });
    return box;
  };
  const replies = (sample) => {
    if (sample.detail < 0) {
      return el('p', { class: 'muted' }, `The prompts and raw replies of this sample are not in this page; they stand in ${
        plain(data.runs[sample.run].name)}/replies.`);
    }
    const raw = data.details[sample.detail];
    return el('div', { class: 'raw' }, folded('Student, round 1: prompt', raw.round1, sample),
      folded('Student, round 1: answer', raw.answer1, sample), folded('Student, round 2: prompt', raw.round2, sample),
      folded('Student, round 2: answer', raw.answer2, sample), folded('Grader: prompt', raw.grading, sample),
      ...raw.votes.map((vote, i) => folded(`Grader: reply ${i + 1}`, vote || null, sample)));
  };
  const links = (sample) => {
    const others = (siblings.get(sample.combination) || []).filter((other) => other !== sample);
    if (others.length === 0) return null;
    const list = others.slice(0, 12).map((other) => el('li', {}, el('a', { href: hash(other) }, other.run === sample.run
      ? `generation ${other.generation}` : plain(`${data.runs[other.run].label}, ${other.generation}`)), ' ', badge(other)));
    return el('div', { class: 'siblings' }, el('h4', {}, 'The same combination'), el('ul', {}, ...list));
  };
  const show = (sample) => {
    current = sample;
    const run = data.runs[sample.run];
    const reasons = sample.reasons.map((reason, i) => (reason ? `vote ${i + 1}: ${plain(reason)}` : '')).filter((text) => text);
    const skills = sample.skills.map((skill, i) => el('li', {
      class: sample.points && sample.points[i] === '1' ? 'earned' : 'lost' },
    `${sample.points ? (sample.points[i] === '1' ? '✓ ' : '✗ ') : ''}${plain(data.skills[skill])}`));
    const link = el('a', { class: 'permalink', href: hash(sample) }, 'link to this sample');
    $('detail').replaceChildren(...[
      el('p', { class: 'kicker' }, plain(`${run.label} · ${data.settings[sample.setting].replaceAll('_', '-')} · k = ${sample.k} · generation ${sample.generation}`)),
      el('h3', { id: 'detail-title' }, plain(data.topics[sample.topic]), ' ', badge(sample)),
      el('ul', { class: 'skills' }, ...skills),
      el('blockquote', { class: 'text', dir: 'auto', tabindex: '0' }, highlighted(sample)),
      votesTable(sample),
      reasons.length ? el('p', { class: 'muted' }, `Not counted: ${reasons.join('; ')}`) : null,
      sample.decoy ? el('p', { class: 'muted' }, `Decoy in place of skill ${sample.decoy[0] + 1}: “${plain(data.skills[sample.decoy[1]])}” got ${sample.decoy[2]}.`) : null,
      replies(sample),
      links(sample),
      el('p', { class: 'muted' }, plain(`${sample.combination}, graded by ${run.grader} · `), link),
    ].filter((child) => child));
    $('detail').scrollTop = 0;
  };
  const select = (sample, scroll) => {
    if (!matching.includes(sample)) {
      for (const [name, control] of Object.entries(filters)) if (name === 'raw') control.checked = false; else control.value = '';
      filter();
    }
    show(sample);
    first = Math.floor(matching.indexOf(sample) / PAGE) * PAGE;
    showList();
    const item = $('list').querySelector('[aria-current="true"]');
    if (item) item.scrollIntoView({ block: 'nearest' });
    if (scroll) $('samples').scrollIntoView();
  };
  const follow = (scroll) => {
    const name = location.hash;
    if (!name.startsWith('#sample=')) return;
    const sample = byKey.get(name.slice('#sample='.length));
    if (sample) select(sample, scroll);
    else {
      $('samples').scrollIntoView();
      let text = name.slice('#sample='.length);
      try { text = decodeURIComponent(text); } catch { /* shown as it stands */ }
      $('detail').replaceChildren(el('p', {}, `This page holds no sample “${plain(text)}”. Not all are embedded: see the note above.`));
    }
  };
  const step = (by) => {
    if (matching.length === 0) return;
    const at = matching.indexOf(current);
    const sample = matching[Math.min(matching.length - 1, Math.max(0, at < 0 ? first : at + by))];
    if (sample !== current) history.replaceState(null, '', hash(sample));
    select(sample, at < 0);
  };

  // ---- events -------------------------------------------------------------------------------------------------
  for (const [name, control] of Object.entries(filters)) control.addEventListener(name === 'search' ? 'input' : 'change', filter);
  $('filters').addEventListener('submit', (event) => event.preventDefault());
  $('filters').addEventListener('reset', () => setTimeout(filter));
  $('previous').addEventListener('click', () => turn(-1));
  $('next').addEventListener('click', () => turn(1));
  window.addEventListener('hashchange', () => follow(false));
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.matches('input, select, textarea');
    if (event.key === 'Escape' && typing) { event.preventDefault(); event.target.blur(); } // else it would clear the field
    else if (typing) return;
    else if (event.key === 'j') step(1);
    else if (event.key === 'k') step(-1);
    else if (event.key === '/') { event.preventDefault(); filters.search.focus(); filters.search.select(); }
  });
  let unfolded = [];
  window.addEventListener('beforeprint', () => {
    unfolded = [...document.querySelectorAll('main > section details:not([open])')].filter((box) => !box.closest('#samples'));
    for (const box of unfolded) box.open = true;
  });
  window.addEventListener('afterprint', () => { for (const box of unfolded) box.open = false; });

  const all = samples.length === data.total;
  const count = (number) => number.toLocaleString('en');
  $('embedded').textContent = (all ? `All ${count(data.total)} samples are in this page`
    : `${count(samples.length)} of ${count(data.total)} samples are in this page: all ${count(data.disagreements)} whose votes differ and a random part of the others (seed ${data.seed})`)
    + (data.details.length === samples.length ? ', with their prompts and raw replies.'
      : `; ${count(data.details.length)} of them, drawn at random, with prompts and raw replies.`)
    + ` Graded texts are cut at ${count(data.limit)} characters, raw ones at ${count(data.rawLimit)}.`;
  $('f-raw').closest('label').hidden = data.details.length === samples.length;
  filter();
  if (samples.length && !location.hash.startsWith('#sample=')) { show(matching[0]); showList(); }
  follow(true);
  document.documentElement.dataset.ready = 'true';
})();
