// The page: asks every two seconds what is new, and shows it. Whatever comes is text to it, never markup: names of runs
// and events are other people's.
import {Chart, colour} from './charts.js';
import {count, duration, fixed, percent} from './format.js';
import {RunData} from './run_data.js';
import {latestStretch, Timeline, wholeStretch} from './timeline.js';

const kPatienceMs = 2000;
// Few enough that the rounds of synchronous training do not look like noise.
const kPacePoints = 48;
const kSiblingColours = ['c1', 'c2', 'c3', 'c4', 'c5'];

const $ = (id) => document.getElementById(id);

function element(tag, {text = null, ...properties} = {}, children = []) {
  const made = Object.assign(document.createElement(tag), properties);
  if (text !== null) made.textContent = text;
  made.append(...children);
  return made;
}

const state = {
  list: {runs: [], focus: 0, left_out: 0},
  data: new Map(),  // of RunData by id
  focus: null,      // id; null: the server's choice
  beside: null,     // id of the run whose lanes are shown, too
  axis: 'tokens',
  stretch: 'latest',
  lastNews: 0,
  connected: true,
};

// ---- asking

async function fetchJson(path) {
  const answer = await fetch(path, {cache: 'no-store'});
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

function focusId() {
  return state.focus ?? state.list.focus;
}

async function refreshRun(run) {
  const onlyEvals = run.id !== focusId() && run.id !== state.beside;
  let data = state.data.get(run.id);
  if (!data || data.onlyEvals && !onlyEvals) {
    data = new RunData(run.id, onlyEvals);
    state.data.set(run.id, data);
  }
  data.onlyEvals = onlyEvals && data.onlyEvals;
  if (data.records === run.records && data.epoch === run.epoch) return false;
  data.merge(await fetchJson(data.question()));
  return true;
}

// One after the other: two answers to the same question would be taken for news twice.
let turn = Promise.resolve();
function refresh() {
  turn = turn.then(refreshNow);
  return turn;
}

async function refreshNow() {
  let changed = false;
  try {
    const list = await fetchJson('api/runs');
    changed = JSON.stringify(list) !== JSON.stringify(state.list) || !state.connected;
    state.list = list;
    if (state.beside === null) chooseBeside();
    for (const run of list.runs) {
      if (await refreshRun(run)) {
        changed = true;
        if (run.id === focusId()) state.lastNews = Date.now();
      }
    }
    state.connected = true;
  } catch (error) {
    changed = changed || state.connected;
    state.connected = false;
  }
  if (changed) show();
  showState();
  document.documentElement.dataset.ready = String(state.connected);
}

async function refreshForever() {
  await refresh();
  setTimeout(refreshForever, kPatienceMs);
}

// ---- choices

// Synchronous training waits; beside anything else it shows why that is slower.
function chooseBeside() {
  const others = state.list.runs.filter((one) => one.id !== focusId() && one.records > 0 && one.method !== 'pretrained').reverse();
  const isSync = (one) => one.method === 'sync-diloco';
  const chosen = others.find(run() && isSync(run()) ? (one) => !isSync(one) : isSync);
  if (chosen || state.list.runs.every((one) => one.finished)) state.beside = chosen ? chosen.id : -1;
}

function fillSelect(select, options, chosen) {
  const key = JSON.stringify([options, chosen]);
  if (select.dataset.key === key) return;
  select.dataset.key = key;
  select.replaceChildren(...options.map(([value, text]) => element('option', {value, text})));
  select.value = chosen;
}

function press(group, name, value) {
  for (const button of group.querySelectorAll('button')) {
    button.setAttribute('aria-pressed', String(button.dataset[name] === value));
  }
}

function onChoice(group, name, chosen) {
  group.addEventListener('click', (event) => {
    const button = event.target.closest('button');
    if (!button) return;
    press(group, name, button.dataset[name]);
    chosen(button.dataset[name]);
    show();
  });
}

function focusOn(id) {
  state.focus = id;
  if (state.beside === id) state.beside = null;
  lossChart.forgetZoom();
  for (const chart of paceCharts) chart.forgetZoom();
  $('recipe-details').open = false;
  refresh().then(show);
}

// ---- showing

function run() {
  return state.list.runs.find((one) => one.id === focusId());
}

function runColour(id) {
  if (id === focusId()) return colour('c0');
  const others = state.list.runs.filter((one) => one.id !== focusId());
  return colour(kSiblingColours[others.findIndex((one) => one.id === id) % kSiblingColours.length]);
}

function showState() {
  const shown = $('state'), one = run();
  let words = 'waiting for the first record', kind = '';
  if (!state.connected) {
    [words, kind] = ['the program that serves this page does not answer; trying again', 'failed'];
  } else if (one?.failure) {
    [words, kind] = [one.failure, 'failed'];
  } else if (one?.finished) {
    words = 'finished';
  } else if (one?.records > 0) {
    const live = Date.now() - state.lastNews < 60_000;
    [words, kind] = live ? ['training', 'live'] : ['no news for a minute', ''];
  }
  if (shown.textContent !== words) shown.textContent = words;
  shown.className = `state ${kind}`;
  $('notice').hidden = !one?.error;
  $('notice').textContent = one?.error ?? '';
}

function figure(name, value, words) {
  return element('div', {}, [element('dt', {text: name}), element('dd', {text: value}, [element('small', {text: words})])]);
}

function showFigures(data) {
  const evals = data.evals(), last = evals.at(-1), totals = data.totals;
  const figures = [];
  if (last) {
    figures.push(figure('validation loss', fixed(last.loss, 4), `perplexity ${fixed(Math.exp(last.loss ?? NaN), 2)}` +
        (last.bits > 0 ? `, ${fixed(last.bits, 3)} bits/byte` : '')));
  }
  if (totals) {
    const time = data.trafficCells.length * data.cellWidth;
    figures.push(
        figure('tokens', count(totals.tokens), `${count(totals.steps)} local steps`),
        figure('tokens per second', count(totals.tokens / time), last?.wall > 0 ?
            `run\u2019s clock; ${count(last.tokens / last.wall)} by the real one` : 'by the run\u2019s clock'),
        figure('busy', percent(totals.utilisation), `${data.workers.count} workers, ${duration(time)}`),
        figure('staleness', fixed(data.staleness.mean, 2), `mean; at most ${data.staleness.max}`),
        figure('arrivals', count(totals.arrivals), `${count(totals.rejected)} rejected, ${count(totals.discarded)} discarded`),
        figure('bytes', count(totals.bytes_up), `up; ${count(totals.bytes_down)} down`));
  }
  $('figures').replaceChildren(...figures);
}

const kAxisFormats = {tokens: count, steps: count, time: duration, wall: duration};

function lossLines() {
  const axis = state.axis;
  const points = (list, y) => list.filter((point) => Number.isFinite(point[axis])).map((point) => [point[axis], point[y]]);
  const lines = [];
  for (const one of state.list.runs) {
    const data = state.data.get(one.id);
    if (!data || one.id === focusId()) continue;
    lines.push({name: one.name, colour: runColour(one.id), points: points(data.evals(), 'loss'), width: 1.4});
  }
  const data = state.data.get(focusId());
  if (data) {
    lines.push({name: 'training', colour: colour('hatch'), points: points(data.training(), 'loss'), width: 1});
    lines.push({name: run()?.name ?? '', colour: colour('c0'), points: points(data.evals(), 'loss'), width: 2.6, dots: true});
  }
  return lines.filter((line) => line.points.length > 0);
}

function showLegend(x, lines, points) {
  const values = new Map(points.map((point) => [point.name, point.yval]));
  const entries = lines.map((line, index) => {
    const swatch = element('i');
    swatch.style.background = line.colour;
    const value = values.get(`line ${index}`);
    return element('span', {title: line.name}, [swatch, `${line.name}${value === undefined ? '' : ` ${fixed(value, 4)}`}`]);
  });
  if (x !== null) entries.push(element('span', {text: `at ${kAxisFormats[state.axis](x)}`}));
  $('loss-legend').replaceChildren(...entries.reverse());
}

const lossChart = new Chart($('loss'), {xFormat: count, yFormat: (y) => fixed(y, 2), point: showLegend});
const paceChart = new Chart($('pace'), {xFormat: duration, yFormat: count, fromZero: true});
const busyChart = new Chart($('busy'), {xFormat: duration, yFormat: (y) => `${Math.round(y)}`, fromZero: true});
const bytesChart = new Chart($('bytes'), {xFormat: duration, yFormat: count, fromZero: true});
const paceCharts = [paceChart, busyChart, bytesChart];

function showLoss() {
  const lines = lossLines();
  lossChart.draw(lines, kAxisFormats[state.axis]);
  showLegend(null, lines, []);
  const last = state.data.get(focusId())?.evals().at(-1);
  $('loss').setAttribute('aria-label', `validation loss against ${state.axis}` +
      (last ? `; the last is ${fixed(last.loss, 4)} nats after ${count(last.tokens)} tokens` : ''));
}

function showPace(data) {
  const traffic = data.traffic(kPacePoints);
  const line = (name, y) => ({colour: colour(name), points: traffic.map((part) => [part.time, y(part)])});
  const rate = (key) => (part) => part[key] / part.length;
  paceChart.draw([line('c0', rate('tokens'))]);
  const busy = line('c0', (part) => 100 * part.train / (part.train + part.wait));
  busy.points = busy.points.filter(([, y]) => Number.isFinite(y));
  busyChart.draw([busy]);
  bytesChart.draw([line('send', rate('up')), line('receive', rate('down'))]);
}

const timelines = new Map();  // of {canvas, drawing, box} by run

function timelineOf(id) {
  if (!timelines.has(id)) {
    const canvas = element('canvas'), title = element('h3');
    const drawing = new Timeline(canvas);
    canvas.addEventListener('pointermove', (event) => {
      const box = canvas.getBoundingClientRect();
      const words = drawing.at(event.clientX - box.left, event.clientY - box.top);
      const hover = $('hover');
      hover.hidden = words === null;
      hover.textContent = words ?? '';
      hover.style.left = `${Math.min(event.clientX + 14, window.innerWidth - 190)}px`;
      hover.style.top = `${event.clientY + 14}px`;
    });
    canvas.addEventListener('pointerleave', () => { $('hover').hidden = true; });
    timelines.set(id, {canvas, title, drawing, box: element('div', {className: 'timeline'}, [title, canvas])});
  }
  return timelines.get(id);
}

function showTimelines() {
  const shown = [focusId(), state.beside].map((id) => state.data.get(id)).filter((data) => data && data.lanes.size > 0);
  const boxes = shown.map((data) => timelineOf(data.id).box);
  if ([...$('timelines').children].some((box, i) => box !== boxes[i]) || $('timelines').children.length !== boxes.length) {
    $('timelines').replaceChildren(...boxes);
  }
  const whole = state.stretch === 'whole';
  const stretches = shown.map((data) => (whole ? wholeStretch : latestStretch)(data.sortedLanes()));
  // The same length for both: that is what makes them comparable.
  const length = Math.max(...stretches.map((stretch) => stretch.length), 1e-6);
  shown.forEach((data, index) => {
    const {title, drawing} = timelineOf(data.id), one = state.list.runs.find((other) => other.id === data.id);
    title.textContent = one.method && one.method !== one.name ? `${one.name} (${one.method})` : one.name;
    const end = whole ? length : stretches[index].end;
    drawing.draw(title.textContent, data.sortedLanes(), Math.max(end - length, 0), Math.max(end, length), whole);
  });
}

function table(target, names, rows) {
  const head = element('thead', {}, [element('tr', {}, names.map((text) => element('th', {text, scope: 'col'})))]);
  target.replaceChildren(head, element('tbody', {}, rows));
}

function showWorkers(data) {
  const all = data.workers.rows.reduce((sum, row) => sum + row[3], data.workers.others_tokens);
  const rows = data.workers.rows.map(([worker, updates, steps, tokens, train, wait, rejected, lost]) => {
    const bar = element('div', {title: percent(tokens / all)});
    const most = Math.max(...data.workers.rows.map((row) => row[3]), 1);
    bar.style.width = `${100 * tokens / most}%`;
    const cells = [count(tokens), count(updates), count(steps), percent(wait / (train + wait)), rejected, lost];
    return element('tr', {}, [
      element('td', {text: worker}), element('td', {className: 'share'}, [bar]),
      ...cells.map((text) => element('td', {text})),
    ]);
  });
  table($('workers'), ['worker', '', 'tokens', 'updates', 'steps', 'waiting', 'rejected', 'lost'], rows);
}

function showStaleness(data) {
  const {mean, max, counts} = data.staleness, most = Math.max(...counts, 1);
  const all = counts.reduce((sum, one) => sum + one, 0), every = Math.ceil(counts.length / 16);
  $('staleness-words').textContent =
      `Outer steps between a task\u2019s dispatch and its arrival: ${fixed(mean, 2)} on average, at most ${max}.`;
  $('staleness').setAttribute('aria-label', counts.map((one, s) => `${s}: ${one}`).join(', '));
  $('staleness').replaceChildren(...counts.map((one, staleness) => {
    const labels = [];
    if (counts.length <= 12 && one > 0) labels.push(element('span', {className: 'count', text: percent(one / all)}));
    const beyond = staleness === counts.length - 1 && max > staleness ? '+' : '';
    if (staleness % every === 0 || beyond) labels.push(element('span', {className: 'value', text: `${staleness}${beyond}`}));
    const bar = element('div', {title: `staleness ${staleness}${beyond}: ${one}`}, labels);
    bar.style.height = `${70 * one / most}%`;
    return bar;
  }));
}

function showRuns() {
  const rows = state.list.runs.map((one) => {
    const chip = element('i', {className: 'chip'}), last = state.data.get(one.id)?.evals().at(-1);
    chip.style.background = runColour(one.id);
    const cells = [
      one.method, fixed(one.loss_nats, 4), count(one.tokens ?? last?.tokens), duration(one.virtual_time_s ?? last?.time),
      percent(one.utilisation), fixed(one.staleness_mean, 2), duration(one.time_to_sync_loss_s),
      one.error ? 'unreadable' : one.failure || (one.finished ? 'finished' : 'not finished'),
    ];
    const row = element('tr', {tabIndex: 0}, [
      element('td', {className: 'name', title: one.name}, [chip, one.name]), ...cells.map((text) => element('td', {text})),
    ]);
    row.setAttribute('aria-selected', String(one.id === focusId()));
    row.addEventListener('click', () => focusOn(one.id));
    row.addEventListener('keydown', (event) => { if (event.key === 'Enter') focusOn(one.id); });
    return row;
  });
  table($('runs'), ['run', 'method', 'loss', 'tokens', 'time', 'busy', 'staleness', 'to sync loss', 'state'], rows);
  $('left-out').hidden = state.list.left_out === 0;
  $('left-out').textContent = `${state.list.left_out} more runs of this directory are not followed.`;
}

function showEvents(data) {
  $('events').replaceChildren(...data.events.slice(-200).reverse().map(([, time, kind, text]) =>
    element('li', {className: kind}, [element('time', {text: duration(time / 1e6)}), element('span', {text})])));
}

async function showRecipe() {
  if (!$('recipe-details').open) return;
  const answer = await fetch(`api/recipe?id=${focusId()}`, {cache: 'no-store'});
  $('recipe').textContent = answer.ok ? await answer.text() : 'not to be had';
}

function show() {
  const data = state.data.get(focusId());
  fillSelect($('focus'), state.list.runs.map((one) => [one.id, one.name]), focusId());
  const others = state.list.runs.filter((one) => one.id !== focusId() && one.records > 0);
  fillSelect($('beside'), [[-1, 'nothing'], ...others.map((one) => [one.id, one.name])], state.beside ?? -1);
  $('beside-label').hidden = others.length === 0;
  document.title = `${run()?.name ?? 'Rubato'} \u00b7 Rubato`;
  showState();
  if (!data || data.onlyEvals) return;
  for (const part of document.querySelectorAll('.of-arrivals')) part.hidden = !(data.totals?.arrivals > 0);
  showFigures(data);
  showLoss();
  showTimelines();
  showPace(data);
  showWorkers(data);
  showStaleness(data);
  showRuns();
  showEvents(data);
}

// ---- beginning

onChoice($('loss-axis'), 'axis', (axis) => {
  state.axis = axis;
  lossChart.forgetZoom();
});
onChoice($('stretch'), 'stretch', (stretch) => { state.stretch = stretch; });
$('focus').addEventListener('change', (event) => focusOn(Number(event.target.value)));
$('beside').addEventListener('change', (event) => {
  state.beside = Number(event.target.value);
  refresh().then(show);
});
$('recipe-details').addEventListener('toggle', showRecipe);
window.addEventListener('resize', show);
window.matchMedia('(prefers-color-scheme: dark)').addEventListener('change', show);
refreshForever();
