// What the page knows of one run, kept up to date by answers that hold only what is new:
// docs/dashboard.md, "What the page asks".

// Rows begin with the number of the stretch they belong to; a stretch that comes again replaces what was known of it.
function mergeRows(stretches, part) {
  const fresh = new Map();
  for (const row of part.rows) {
    if (!fresh.has(row[0])) fresh.set(row[0], []);
    fresh.get(row[0]).push(row);
  }
  for (const [at, rows] of fresh) stretches[at] = rows;
  stretches.length = part.size;
}

export class RunData {
  constructor(id, onlyEvals) {
    this.id = id;
    this.onlyEvals = onlyEvals;
    this.reset(0);
  }

  reset(epoch) {
    this.epoch = epoch;
    this.records = 0;
    this.evalStretches = [];
    this.trainingStretches = [];
    this.trafficCells = [];
    this.cellWidth = 1;
    this.lanes = new Map();
    this.events = [];
    this.workers = {count: 0, rows: [], others_tokens: 0};
    this.totals = null;
    this.staleness = {mean: 0, max: 0, counts: []};
  }

  question() {
    return `api/run?id=${this.id}&epoch=${this.epoch}&since=${this.records}` + (this.onlyEvals ? '&only=evals' : '');
  }

  merge(answer) {
    if (answer.since === 0) this.reset(answer.epoch);
    this.records = answer.records;
    mergeRows(this.evalStretches, answer.evals);
    if (this.onlyEvals) return;
    mergeRows(this.trainingStretches, answer.training);
    mergeRows(this.trafficCells, answer.traffic);
    this.cellWidth = answer.traffic.width_us / 1e6;
    for (const lane of answer.lanes) this.mergeLane(lane);
    this.workers = answer.workers;
    this.totals = answer.totals;
    this.staleness = answer.staleness;
    this.events = this.events.concat(answer.events).sort((a, b) => a[0] - b[0]).slice(-200);
  }

  mergeLane(answer) {
    if (!this.lanes.has(answer.worker)) {
      this.lanes.set(answer.worker, {worker: answer.worker, cells: [], spans: [], width: 1});
    }
    const lane = this.lanes.get(answer.worker);
    mergeRows(lane.cells, {size: answer.size, rows: answer.hours});
    lane.width = answer.width_us / 1e6;
    const spans = answer.spans.map(([kind, begin, end, task]) => ({kind, begin: begin / 1e6, end: end / 1e6, task}));
    lane.spans = lane.spans.concat(spans).slice(-answer.kept);
  }

  // Of the training where there is one: the pretraining counts its steps apart.
  evals() {
    const all = this.evalStretches.flat().map(
        ([, training, steps, tokens, time, wall, loss, bits]) =>
            ({training, steps, tokens, time: time / 1e6, wall: wall / 1e6, loss, bits}));
    const training = all.filter((point) => point.training);
    return training.length > 0 ? training : all;
  }

  training() {
    return this.trainingStretches.flat().map(
        ([, steps, tokens, time, loss]) => ({steps, tokens, time: time / 1e6, loss}));
  }

  // Sums over at most `parts` equal stretches; the last may be short, and is left out when it is not the only one.
  traffic(parts) {
    const cells = Math.ceil(this.trafficCells.length / parts), length = cells * this.cellWidth, sums = [];
    for (const [cell, tokens, , , up, down, train, wait] of this.trafficCells.flat()) {
      const at = Math.floor(cell / cells);
      while (sums.length <= at) {
        sums.push({time: (sums.length + 0.5) * length, length, tokens: 0, up: 0, down: 0, train: 0, wait: 0});
      }
      const sum = sums[at];
      sum.tokens += tokens;
      sum.up += up;
      sum.down += down;
      sum.train += train;
      sum.wait += wait;
    }
    return sums.length > 1 ? sums.slice(0, -1) : sums;
  }

  sortedLanes() {
    return [...this.lanes.values()].sort((a, b) => a.worker - b.worker);
  }
}
