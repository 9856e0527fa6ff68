// The report's style sheet and its one shared definition, the hatching of waiting time. Colours:
// Okabe and Ito's palette, which people with any kind of colour vision can tell apart; lightened on
// dark ground. c0 .. c6 are methods, p0 .. p7 workers, i0 .. i7 the text inside a worker's bar.
#pragma once

namespace rubato {

inline constexpr const char* kReportStyle = R"css(
:root {
  color-scheme: light dark;
  --ground: #ffffff; --card: #ffffff; --text: #1b1f24; --soft: #5b6470; --rule: #dfe3e8;
  --lane: #f3f4f6; --hatch: #9aa3ae;
  --c0: #6b7280; --c1: #00835f; --c2: #0072b2; --c3: #b87400; --c4: #d55e00; --c5: #a84a80;
  --c6: #2584c0;
  --p0: #08519c; --p1: #3182bd; --p2: #6baed6; --p3: #9ecae1; --p4: #7a5195; --p5: #a883c2;
  --p6: #c9b1da; --p7: #e4d8ee;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14171b; --card: #1b1f24; --text: #e8eaed; --soft: #a3acb7; --rule: #343a42;
    --lane: #23282e; --hatch: #69737f;
    --c0: #a3acb7; --c1: #2fc59b; --c2: #56b4e9; --c3: #e69f00; --c4: #ff8a4c; --c5: #e39bc4;
    --c6: #8fd0ff;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--ground); color: var(--text);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
}
main { max-width: 1140px; margin: 0 auto; padding: 2rem 1.1rem 3rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; letter-spacing: -.01em; }
h2 { font-size: 1.12rem; margin: 2.4rem 0 .2rem; }
p { margin: .25rem 0 .7rem; max-width: 46rem; }
.soft { color: var(--soft); }
.findings { margin: 1rem 0 0; padding: 0; list-style: none; max-width: 52rem; }
.findings li { padding: .3rem 0 .3rem .8rem; border-left: 4px solid currentColor; margin: .45rem 0; }
.findings span { color: var(--text); }
.scroll { overflow-x: auto; margin: 1.1rem 0 0; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .42rem .55rem; white-space: nowrap; }
th { font-weight: 600; font-size: .85rem; vertical-align: bottom; border-bottom: 2px solid var(--rule); }
th small { display: block; font-weight: 400; color: var(--soft); }
td { border-bottom: 1px solid var(--rule); }
th:first-child, td:first-child { text-align: left; padding-left: 0;
  position: sticky; left: 0; background: var(--ground); }
td:first-child { font-weight: 600; }
.chip { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin-right: .5em;
  background: currentColor; vertical-align: -.05em; }
td .name, .legend .name { color: var(--text); }
.legend { font-size: .9rem; display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; margin: .4rem 0; }
.legend svg { width: 26px; height: 14px; margin-right: .45em; vertical-align: -2px; }
.plots { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 430px), 1fr)); }
.plots.small { grid-template-columns: repeat(auto-fill, minmax(min(100%, 250px), 1fr)); }
figure { margin: 0; }
figcaption { font-weight: 600; font-size: .95rem; margin: .8rem 0 .2rem; }
figcaption small { display: block; font-weight: 400; color: var(--soft); font-size: .85rem; }
svg { display: block; width: 100%; height: auto; }
.legend svg { display: inline-block; }
svg.wide { min-width: 720px; }
svg text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
  fill: var(--text); }
svg .tick, svg .axis-title, svg .note { fill: var(--soft); font-size: 12px; }
svg .strong { fill: var(--text); font-weight: 600; }
.halo { paint-order: stroke; stroke: var(--ground); stroke-width: 4px; stroke-linejoin: round; }
svg .label { fill: currentColor; font-weight: 600; }
line.grid { stroke: var(--rule); stroke-width: 1; }
line.axis { stroke: var(--soft); stroke-width: 1; }
line.guide { stroke: var(--soft); stroke-width: 1.3; stroke-dasharray: 5 4; }
.line { fill: none; stroke: currentColor; stroke-width: 2.2; stroke-linejoin: round; stroke-linecap: round; }
.dashed { stroke-dasharray: 6 4; }
.leader { fill: none; stroke: currentColor; stroke-width: 1; opacity: .55; }
.dot, .bar { fill: currentColor; }
.ring { fill: var(--ground); fill-opacity: .7; stroke: currentColor; stroke-width: 2.2; }
.block { fill: currentColor; stroke: var(--ground); stroke-width: 1.4; }
.thin { stroke: none; }
.lane { fill: var(--lane); }
.wait { fill: url(#hatch); }
.receive, .send { fill: var(--text); }
.lost { fill: none; stroke: var(--text); stroke-width: 1.2; stroke-dasharray: 3 3; }
.part { stroke: var(--ground); stroke-width: 1.5; }
svg .inside { font-size: 12px; font-weight: 600; }
svg .i0, svg .i1, svg .i4 { fill: #ffffff; }
svg .i2, svg .i3, svg .i5, svg .i6, svg .i7 { fill: #10151c; }
.c0 { color: var(--c0); } .c1 { color: var(--c1); } .c2 { color: var(--c2); }
.c3 { color: var(--c3); } .c4 { color: var(--c4); } .c5 { color: var(--c5); }
.c6 { color: var(--c6); }
.p0 { fill: var(--p0); } .p1 { fill: var(--p1); } .p2 { fill: var(--p2); }
.p3 { fill: var(--p3); } .p4 { fill: var(--p4); } .p5 { fill: var(--p5); }
.p6 { fill: var(--p6); } .p7 { fill: var(--p7); }
details { margin-top: 1rem; }
summary { cursor: pointer; font-weight: 600; }
pre { overflow-x: auto; background: var(--lane); padding: .8rem 1rem; border-radius: 6px;
  font: 13px/1.45 ui-monospace, "DejaVu Sans Mono", monospace; }
footer { margin-top: 2.6rem; padding-top: .8rem; border-top: 1px solid var(--rule); font-size: .85rem;
  color: var(--soft); overflow-wrap: anywhere; }
@media (max-width: 600px) {
  body { font-size: 15px; }
  main { padding: 1.2rem .8rem 2rem; }
  th, td { padding: .38rem .4rem; font-size: .88rem; }
  svg.plot .tick, svg.plot .axis-title, svg.plot .note { font-size: 14px; }
  .plots.small { grid-template-columns: 1fr 1fr; gap: .6rem; }
}
@media print {
  main { max-width: none; padding: 0; }
  figure, tr, .findings li { break-inside: avoid; }
  h2 { break-after: avoid; }
  svg.wide { min-width: 0; }
  .scroll { overflow: visible; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
)css";

inline constexpr const char* kReportDefinitions =
    R"svg(<svg width="0" height="0" style="position:absolute" aria-hidden="true"><defs>
<pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
<rect width="6" height="6" style="fill:var(--lane)"/>
<rect width="2" height="6" style="fill:var(--hatch)"/>
</pattern></defs></svg>
)svg";

}  // namespace rubato
