// Charts by dygraphs, which is loaded before: the options that all of them share, and how lines become its rows.
/* global Dygraph */
import {duration, timeTicks} from './format.js';

// Its legend writes HTML and styles in it; names of runs are other people's text, so the page has a legend of its own.
Dygraph.PLUGINS = Dygraph.PLUGINS.filter((plugin) => plugin.prototype.toString() !== 'Legend Plugin');

export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function timeTicker(begin, end) {
  return timeTicks(begin, end).map(({at, text}) => ({v: at, label: text}));
}

// Lines ({points: [[x, y], ..]}) as rows over all their x.
function rowsOf(lines) {
  const rows = new Map();
  lines.forEach((line, index) => {
    for (const [x, y] of line.points) {
      if (!rows.has(x)) rows.set(x, [x, ...lines.map(() => null)]);
      rows.get(x)[index + 1] = y;
    }
  });
  return [...rows.values()].sort((a, b) => a[0] - b[0]);
}

// What happens in the first part of a run would flatten all the rest.
function usefulRange(lines) {
  const last = Math.max(...lines.flatMap((line) => line.points.map(([x]) => x)));
  const values = (from) => lines.flatMap((line) => line.points.filter(([x, y]) => x >= from && y !== null).map(([, y]) => y));
  const all = values(0), late = values(last * 0.04);
  if (all.length === 0) return null;
  const low = Math.min(...all), high = Math.max(...(late.length > 1 ? late : all));
  const room = 0.06 * Math.max(high - low, 1e-6);
  return [low - room, high + room];
}

export class Chart {
  // `point(x, values)` is told what lies under the pointer, and `null` when nothing does.
  constructor(element, {xFormat, yFormat, fromZero = false, point = null}) {
    Object.assign(this, {element, xFormat, yFormat, fromZero, point, graph: null});
  }

  // Lines: {name, colour, points, width, dots, faint}.
  draw(lines, xFormat = this.xFormat) {
    const shown = lines.filter((line) => line.points.length > 0);
    if (shown.length === 0) return;
    const series = {};
    shown.forEach((line, index) => {
      series[`line ${index}`] = {
        strokeWidth: line.width ?? 1.6, drawPoints: Boolean(line.dots), pointSize: 2.2, color: line.colour,
      };
    });
    const range = this.fromZero ? [0, 1.08 * Math.max(...shown.flatMap((l) => l.points.map(([, y]) => y)), 1e-9)]
                                : usefulRange(shown);
    const options = {
      file: rowsOf(shown), labels: ['x', ...Object.keys(series)], series, colors: shown.map((line) => line.colour),
      connectSeparatedPoints: true, valueRange: range, gridLineColor: colour('rule'),
      axisLineColor: colour('soft'), axisLabelFontSize: 12, highlightCircleSize: 3,
      axes: {
        x: {axisLabelFormatter: (x) => xFormat(x), valueFormatter: (x) => xFormat(x), axisLabelWidth: 64, drawGrid: false,
            ticker: xFormat === duration ? timeTicker : Dygraph.numericLinearTicks},
        y: {axisLabelFormatter: (y) => this.yFormat(y), axisLabelWidth: 48},
      },
    };
    if (this.point) {
      options.highlightCallback = (_event, x, points) => this.point(x, shown, points);
      options.unhighlightCallback = () => this.point(null, shown, []);
    }
    if (this.graph) {
      this.graph.updateOptions(options);
    } else {
      const {file, ...others} = options;
      this.graph = new Dygraph(this.element, file, others);
    }
  }

  // The next drawing shows all again.
  forgetZoom() {
    if (this.graph) this.graph.destroy();
    this.graph = null;
  }
}
