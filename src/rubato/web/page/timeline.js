// Lanes of a run on a canvas: blocks where a worker trained, hatching where it waited, a dashed frame where its task was
// lost; thin lines along the edges where parameters came and deltas went.
import {duration, percent, timeTicks} from './format.js';

const kLabelWidth = 84, kNoteWidth = 58, kAxisHeight = 22;

function colours() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(`--${name}`).trim();
  return {
    ground: of('card'), text: of('text'), soft: of('soft'), rule: of('rule'), lane: of('lane'), hatch: of('hatch'),
    train: of('train'), lost: of('lost'), receive: of('receive'), send: of('send'),
  };
}

function hatching(context, colour) {
  const tile = document.createElement('canvas');
  tile.width = tile.height = 8;
  const pen = tile.getContext('2d');
  pen.fillStyle = colour.lane;
  pen.fillRect(0, 0, 8, 8);
  pen.strokeStyle = colour.hatch;
  pen.lineWidth = 1.6;
  for (const shift of [-8, 0, 8]) {
    pen.beginPath();
    pen.moveTo(shift, 8);
    pen.lineTo(shift + 8, 0);
    pen.stroke();
  }
  return context.createPattern(tile, 'repeat');
}

function laneHeight(lanes) {
  if (lanes <= 12) return 26;
  if (lanes <= 40) return 15;
  return lanes <= 128 ? 7 : 4;
}

// The last stretch that shows a few of the longest tasks, and the end of the run.
export function latestStretch(lanes) {
  let end = 0, longest = 0;
  for (const lane of lanes) {
    for (const span of lane.spans) {
      end = Math.max(end, span.end);
      if (span.kind === 'train') longest = Math.max(longest, span.end - span.begin);
    }
  }
  return {end, length: Math.min(2.6 * longest, end)};
}

export function wholeStretch(lanes) {
  let end = 0;
  for (const lane of lanes) end = Math.max(end, lane.cells.length * lane.width);
  return {end, length: end};
}

function waitShare(lane) {
  let train = 0, wait = 0;
  for (const [row] of lane.cells.filter(Boolean)) {
    train += row[1];
    wait += row[2];
  }
  return wait / (train + wait);
}

// One drawing; remembers where what is, for whoever points at it.
export class Timeline {
  constructor(canvas) {
    this.canvas = canvas;
    this.lanes = [];
  }

  draw(name, lanes, begin, end, whole) {
    Object.assign(this, {lanes, begin, end, whole, height: laneHeight(lanes.length)});
    const width = this.canvas.clientWidth, height = lanes.length * this.height + kAxisHeight;
    const density = window.devicePixelRatio || 1;
    this.canvas.style.height = `${height}px`;
    this.canvas.width = Math.round(width * density);
    this.canvas.height = Math.round(height * density);
    this.plotWidth = Math.max(width - kLabelWidth - kNoteWidth, 1);
    const pen = this.canvas.getContext('2d');
    pen.scale(density, density);
    this.colour = colours();
    this.hatch = hatching(pen, this.colour);
    pen.font = '12px system-ui, "DejaVu Sans", sans-serif';
    pen.textBaseline = 'middle';
    lanes.forEach((lane, index) => this.drawLane(pen, lane, index));
    this.drawAxis(pen, lanes.length * this.height);
    const words = lanes.slice(0, 12).map((lane) => `worker ${lane.worker} waits ${percent(waitShare(lane))}`);
    this.canvas.setAttribute('role', 'img');
    this.canvas.setAttribute('aria-label', `${name}: ${words.join(', ')}${lanes.length > 12 ? ' ..' : ''}`);
  }

  x(time) {
    const share = (time - this.begin) / Math.max(this.end - this.begin, 1e-9);
    return kLabelWidth + this.plotWidth * Math.min(Math.max(share, 0), 1);
  }

  drawLane(pen, lane, index) {
    const gap = this.height > 10 ? 4 : 1, top = index * this.height + gap / 2, tall = this.height - gap;
    pen.fillStyle = this.colour.lane;
    pen.fillRect(kLabelWidth, top, this.plotWidth, tall);
    if (this.whole) {
      this.drawHours(pen, lane, top, tall);
    } else {
      for (const span of lane.spans) this.drawSpan(pen, span, top, tall);
    }
    const every = Math.ceil(14 / this.height);
    if (index % every !== 0) return;
    pen.textAlign = 'left';
    pen.fillStyle = this.colour.text;
    pen.fillText(`worker ${lane.worker}`, 0, top + tall / 2);
    pen.textAlign = 'right';
    pen.fillStyle = this.colour.soft;
    pen.fillText(percent(waitShare(lane)), kLabelWidth + this.plotWidth + kNoteWidth - 4, top + tall / 2);
  }

  drawSpan(pen, span, top, tall) {
    if (span.end <= this.begin || span.begin >= this.end) return;
    const left = this.x(span.begin), wide = Math.max(this.x(span.end) - left, 0.5), edge = Math.min(3, tall / 3);
    if (span.kind === 'lost') {
      pen.strokeStyle = this.colour.lost;
      pen.setLineDash([3, 3]);
      pen.strokeRect(left + 0.5, top + 0.5, Math.max(wide - 1, 1), tall - 1);
      pen.setLineDash([]);
      return;
    }
    pen.fillStyle = span.kind === 'wait' ? this.hatch : this.colour[span.kind];
    if (span.kind === 'receive') {
      pen.fillRect(left, top, wide, edge);
    } else if (span.kind === 'send') {
      pen.fillRect(left, top + tall - edge, wide, edge);
    } else {
      // A line of ground between two tasks.
      pen.fillRect(left, top, span.kind === 'train' && wide > 4 ? wide - 1.5 : wide, tall);
    }
  }

  // Of each stretch the share that was trained, from below, the share that was waited, from above.
  drawHours(pen, lane, top, tall) {
    lane.cells.forEach((rows, cell) => {
      if (!rows) return;
      const [, train, wait, lost] = rows[0];
      const all = train + wait + lost, left = this.x(cell * lane.width);
      const wide = Math.max(this.x((cell + 1) * lane.width) - left, 0.5);
      if (all <= 0) return;
      pen.fillStyle = this.hatch;
      pen.fillRect(left, top, wide, tall);
      pen.fillStyle = this.colour.train;
      pen.fillRect(left, top + tall * (1 - train / all), wide, tall * (train / all));
      pen.fillStyle = this.colour.lost;
      if (lost > 0) pen.fillRect(left, top, wide, Math.max(tall * (lost / all), 1.5));
    });
  }

  drawAxis(pen, top) {
    pen.fillStyle = this.colour.soft;
    pen.textAlign = 'center';
    for (const {at, text} of timeTicks(this.begin, this.end)) {
      pen.fillRect(this.x(at), top, 1, 4);
      pen.fillText(text, this.x(at), top + 13);
    }
    pen.textAlign = 'right';
    pen.fillText('waiting', kLabelWidth + this.plotWidth + kNoteWidth - 4, top + 13);
  }

  // A sentence about what lies under a point of the canvas; null where nothing does.
  at(x, y) {
    const lane = this.lanes[Math.floor(y / this.height)];
    if (!lane || x < kLabelWidth || x > kLabelWidth + this.plotWidth) return null;
    const time = this.begin + (x - kLabelWidth) / this.plotWidth * (this.end - this.begin);
    const name = `worker ${lane.worker}`;
    if (this.whole) {
      const rows = lane.cells[Math.floor(time / lane.width)];
      if (!rows) return `${name} at ${duration(time)}`;
      const [, train, wait, lost] = rows[0];
      return `${name} at ${duration(time)}\ntraining ${percent(train / (train + wait + lost))}`;
    }
    const span = lane.spans.find((one) => one.begin <= time && time < one.end && one.kind.length < 6) ??
        lane.spans.find((one) => one.begin <= time && time < one.end);
    if (!span) return `${name} at ${duration(time)}`;
    return `${name}, task ${span.task}\n${span.kind} for ${duration(span.end - span.begin)}`;
  }
}
