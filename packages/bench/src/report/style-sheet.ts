/** The report's look. Nothing is fetched: fonts are those that are there, colours follow the reader's scheme. */
export const STYLE_SHEET = `
:root {
  color-scheme: light dark;
  --paper: #fdfdfb; --ink: #1c1e21; --faint: #5d6269; --rule: #dedcd5; --grid: #ecebe5;
  --aio: #1c6aa8; --sio: #b34a08; --auto: #14775a;
  --step-1: #4d5c92; --step-2: #b9822b; --step-3: #5f9484; --step-4: #3a7ca0; --step-5: #a2577a; --step-6: #7d8087;
  --serif: Charter, 'Bitstream Charter', 'Iowan Old Style', Palatino, 'Palatino Linotype', Georgia, serif;
  --sans: system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #15171a; --ink: #e4e2dc; --faint: #a2a6ab; --rule: #383c41; --grid: #24272b;
    --aio: #6cb4ee; --sio: #f1975c; --auto: #4fc9a0;
    --step-1: #8e9bd1; --step-2: #d9a652; --step-3: #86bdac; --step-4: #65aacd; --step-5: #cf85a7; --step-6: #a2a5ab;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 1.0625rem/1.55 var(--serif); font-variant-numeric: lining-nums; }
main { max-width: 82rem; margin: 0 auto; padding: clamp(1.5rem, 5vw, 4rem) clamp(1rem, 4vw, 3rem); }
h1, h2, h3 { font-weight: 600; line-height: 1.2; text-wrap: balance; margin: 0; }
h1 { font-size: clamp(1.7rem, 4.5vw, 2.5rem); letter-spacing: -0.015em; }
h2 { font-size: 1.45rem; letter-spacing: -0.01em; padding-top: 1.4rem; border-top: 1px solid var(--rule); }
h3 { font-size: 1.12rem; margin: 2.2rem 0 0.9rem; }
h3 code { font: 400 0.8rem var(--sans); color: var(--faint); margin-left: 0.4em; }
p { max-width: 44rem; margin: 0.8rem 0; text-wrap: pretty; }
.lead-in { color: var(--faint); margin: 0.5rem 0 0; max-width: none; font: 0.92rem/1.5 var(--sans); overflow-wrap: anywhere; }
.legend { color: var(--faint); font: 0.85rem/1.5 var(--sans); }
.missing { color: var(--faint); font-style: italic; }
section { margin-top: 3rem; }
table, figure, svg text, dl, summary { font-family: var(--sans); font-variant-numeric: tabular-nums lining-nums; }

.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr)); gap: 1.6rem 2.4rem; margin: 1.2rem 0; }
.beside { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 2rem 3.5rem; align-items: start; margin: 1.5rem 0; }
.beside .scroll { margin: 0; }
.stack { display: grid; gap: 1.5rem; }
figure { margin: 0; min-width: 0; max-width: 30rem; }
figcaption { font-size: 0.9rem; font-weight: 600; margin-bottom: 0.5rem; }
.key { font-weight: 400; color: var(--faint); margin-left: 0.6em; white-space: nowrap; }
svg { display: block; width: 100%; height: auto; overflow: visible; }

.aio { --tone: var(--aio); } .sio { --tone: var(--sio); } .auto { --tone: var(--auto); }
.step-1 { --tone: var(--step-1); } .step-2 { --tone: var(--step-2); } .step-3 { --tone: var(--step-3); }
.step-4 { --tone: var(--step-4); } .step-5 { --tone: var(--step-5); } .step-6 { --tone: var(--step-6); }

svg text { font-size: 10px; fill: var(--ink); }
svg .name { font-size: 12px; font-weight: 600; fill: var(--tone, var(--ink)); }
svg .faint, svg .axis-label, svg .guide-name { fill: var(--faint); }
svg .guide-name { font-size: 8.5px; text-anchor: end; }
svg .axis-label, svg .quantile, svg .step { text-anchor: middle; }
svg .mode { fill: var(--tone); font-size: 11px; }
svg path { fill: none; stroke-width: 1; }
svg .axis { stroke: var(--faint); stroke-width: 0.8; }
svg .grid { stroke: var(--grid); }
svg .guide { stroke: var(--rule); stroke-dasharray: 1 3; }
svg .baseline { stroke: var(--rule); }
svg .area { fill: var(--tone); fill-opacity: 0.32; stroke: var(--tone); stroke-width: 0.9; stroke-linejoin: round; }
svg .own .area { fill-opacity: 0.1; }
svg .rug { stroke: var(--tone); stroke-width: 1.1; }
svg .tick { stroke: var(--ink); stroke-width: 0.8; stroke-opacity: 0.75; }
svg .tick.p99 { stroke-opacity: 0.55; } svg .tick.max { stroke-opacity: 0.55; }
svg .link { stroke: var(--tone); stroke-width: 1.5; stroke-opacity: 0.45; }
svg .then { fill: var(--paper); stroke: var(--tone); stroke-width: 1.4; }
svg .now, svg rect { fill: var(--tone); }
svg .lead { stroke: var(--faint); stroke-width: 0.6; }

.scroll { overflow-x: auto; margin: 1rem 0; max-width: max-content; }
.scroll:focus-visible { outline: 2px solid var(--aio); outline-offset: 3px; }
table { border-collapse: collapse; font-size: 0.88rem; line-height: 1.4; }
caption { text-align: left; color: var(--faint); padding-bottom: 0.5rem; }
th, td { padding: 0.26rem 0 0.26rem 1.5rem; white-space: nowrap; font-weight: 400; vertical-align: baseline; }
th:first-child, td:first-child { padding-left: 0; }
.word { text-align: left; } .number { text-align: right; }
.faint { color: var(--faint); } .strong { font-weight: 600; }
thead th { color: var(--faint); border-bottom: 1px solid var(--rule); vertical-align: bottom; }
tbody tr + tr > * { border-top: 1px solid var(--grid); }
.comparison th[colspan] { text-align: right; color: var(--tone); font-weight: 600; border-bottom: 0; }
.comparison .faint + td, .comparison .faint + th { padding-left: 0.9rem; }
.comparison thead tr + tr th:first-child { padding-left: 1.5rem; }
.comparison thead th[rowspan] { white-space: normal; max-width: 7.5rem; }
.swatch { display: inline-block; width: 0.62em; height: 0.62em; margin-right: 0.5em; border-radius: 1px; background: var(--tone); }
.swatch.own { background: none; box-shadow: inset 0 0 0 1.5px var(--tone); }
summary { cursor: pointer; font-size: 0.88rem; color: var(--faint); width: max-content; }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 17rem), 1fr)); gap: 0.9rem 2rem; font-size: 0.92rem; }
dt { color: var(--faint); font-size: 0.82rem; } dd { margin: 0; overflow-wrap: anywhere; }
.nowrap { white-space: nowrap; }
@media (max-width: 30rem) {
  table { font-size: 0.8rem; }
  th, td, .comparison thead tr + tr th:first-child { padding-left: 0.75rem; }
  .comparison td, .comparison th, .comparison thead tr + tr th:first-child { padding-left: 0.6rem; }
  .comparison .faint + td, .comparison .faint + th { padding-left: 0.4rem; }
  .comparison tbody th:first-child, .comparison thead tr:first-child th:first-child { padding-left: 0; }
}
@media print { figure, tr { break-inside: avoid; } h2, h3 { break-after: avoid; } }
`;
