// Numbers for people.

export function count(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return '\u2013';
  for (const [size, letter] of [[1e12, 'T'], [1e9, 'G'], [1e6, 'M'], [1e3, 'k']]) {
    if (Math.abs(value) >= size) return `${trimmed(value / size)}${letter}`;
  }
  return trimmed(value);
}

function trimmed(value) {
  return String(Number(value.toPrecision(3)));
}

export function fixed(value, digits) {
  return value === null || value === undefined || !Number.isFinite(value) ? '\u2013' : value.toFixed(digits);
}

export function percent(share) {
  return Number.isFinite(share) ? `${Math.round(100 * share)} %` : '\u2013';
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return '\u2013';
  if (seconds < 120) return `${trimmed(seconds)} s`;
  if (seconds < 2 * 3600) return `${trimmed(seconds / 60)} min`;
  if (seconds < 2 * 86400) return `${trimmed(seconds / 3600)} h`;
  return `${trimmed(seconds / 86400)} d`;
}

const kTimeSteps = [
  1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 10800,
  21600, 43200, 86400, 172800, 604800, 1209600, 2592000, 31536000, 315360000,
];

// Some five moments between begin and end [s] that people would choose, as {at, text}.
export function timeTicks(begin, end) {
  const step = kTimeSteps.find((one) => one >= (end - begin) / 7) ?? kTimeSteps.at(-1);
  const ticks = [];
  for (let i = Math.ceil(begin / step); i * step <= end && ticks.length < 20; ++i) {
    ticks.push({at: i * step, text: clock(i * step, step)});
  }
  return ticks;
}

function clock(seconds, step) {
  const whole = Math.round(seconds), two = (value) => String(value).padStart(2, '0');
  const hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
  if (step < 1) return `${trimmed(seconds)} s`;
  if (step < 60 && seconds < 120) return `${whole} s`;
  if (step < 60) return (hours > 0 ? `${hours}:${two(minutes)}` : `${minutes}`) + `:${two(whole % 60)}`;
  if (step < 3600) return hours > 0 ? `${hours}:${two(minutes)} h` : `${minutes} min`;
  return step < 86400 && whole < 4 * 86400 ? `${hours} h` : `${trimmed(seconds / 86400)} d`;
}
