"""How the report looks: colors safe for color-blind readers, chart settings, style sheet."""

RATERS = ('#E69F00', '#56B4E9', '#CC79A7', '#009E73', '#D55E00', '#0072B2', '#F0E442')
SAMPLE = '#FFE600'
MODELS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9')
BOUNDS = ('#4d4d4d', '#8c8c8c', '#b3b3b3')
DASHES = ('--', ':', '-.')

CHART = {
  'axes.axisbelow': True,
  'axes.grid': True,
  'axes.spines.right': False,
  'axes.spines.top': False,
  'axes.titlelocation': 'left',
  'axes.titlesize': 10,
  'axes.titleweight': 'bold',
  'figure.dpi': 160,
  'figure.facecolor': 'white',
  'font.family': 'DejaVu Sans',
  'font.size': 9,
  'grid.color': '#e6e6e6',
  'legend.fontsize': 8,
  'legend.frameon': False,
  'lines.linewidth': 1.6,
  'text.parse_math': False,  # a dollar sign in a name is a dollar sign
}

SHEET = """
:root { color-scheme: light; --ink: #1c1f23; --soft: #5b636d; --line: #d9dde2; --pale: #f5f6f8;
  --accent: #0b5c8f; }
* { box-sizing: border-box; }
body { margin: 0; background: #fff; color: var(--ink);
  overflow-wrap: anywhere;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main, header, footer { max-width: 1240px; margin: 0 auto; padding: 0 20px; }
header { padding-top: 24px; }
h1 { font-size: 26px; line-height: 1.2; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 19px; margin: 36px 0 10px; padding-top: 10px; border-top: 2px solid var(--line); }
h3 { font-size: 16px; margin: 22px 0 8px; }
h4 { font-size: 14px; margin: 0 0 6px; overflow-wrap: anywhere; }
h5 { font-size: 12.5px; margin: 10px 0 4px; color: var(--soft); font-weight: 600; }
p { margin: 6px 0; max-width: 85ch; }
a { color: var(--accent); }
nav a { display: inline-block; margin: 0 14px 4px 0; font-size: 14px; }
.soft, .notes, figcaption { color: var(--soft); font-size: 13px; }
.notes { padding-left: 18px; margin: 8px 0; }
.verdict { font-size: 17px; border-left: 4px solid var(--accent); padding-left: 12px;
  margin: 14px 0; }
.warning { border: 1px solid #d9a400; border-left-width: 6px; background: #fff8e1;
  padding: 8px 12px; margin: 12px 0; max-width: 90ch; }
.wide { overflow-x: auto; max-width: 100%; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13.5px; }
th, td { padding: 5px 6px; text-align: right; border-bottom: 1px solid var(--line);
  vertical-align: top; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; white-space: normal; min-width: 120px;
  overflow-wrap: anywhere; position: sticky; left: 0; background: #fff; font-weight: 500; }
thead th, thead th:first-child { white-space: normal; overflow-wrap: normal; font-weight: 600;
  font-size: 12.5px; background: #fff; border-bottom: 2px solid var(--ink);
  vertical-align: bottom; }
th .soft { font-size: 12px; }
td small { display: block; color: var(--soft); font-size: 10.5px; }
tr.bound td, tr.bound th { background: var(--pale); color: #3f464e; font-style: italic; }
tr.first td, tr.first th { border-top: 2px solid var(--ink); }
td.plain, th.plain { text-align: left; white-space: normal; overflow-wrap: anywhere; }
.charts { display: grid; gap: 10px 22px; align-items: start;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 290px), 1fr)); }
.charts.large { grid-template-columns: repeat(auto-fill, minmax(min(100%, 400px), 1fr)); }
figure { margin: 0; }
.charts img { max-width: 100%; height: auto; display: block; }
.panel { border: 1px solid var(--line); border-radius: 6px; padding: 10px 12px 12px;
  margin: 12px 0; break-inside: avoid; }
.tiles { display: grid; gap: 8px; grid-template-columns: repeat(8, 1fr); }
.tiles figcaption { font-size: 11.5px; line-height: 1.3; padding-top: 3px;
  overflow-wrap: anywhere; }
svg { display: block; width: 100%; height: auto; background: #222; }
svg image { image-rendering: pixelated; }
svg path { vector-effect: non-scaling-stroke; stroke-linejoin: miter; fill: none; }
.key { display: flex; flex-wrap: wrap; gap: 4px 18px; font-size: 13px; margin: 8px 0; }
.swatch { display: inline-block; width: 22px; height: 10px; margin-right: 6px;
  border: 1px solid #444; }
.ramp { width: 90px; }
details { margin: 8px 0; }
summary { cursor: pointer; color: var(--accent); }
pre { background: var(--pale); padding: 10px; overflow-x: auto; font-size: 12.5px;
  white-space: pre-wrap; overflow-wrap: anywhere; }
code { overflow-wrap: anywhere; }
footer { margin: 40px auto 24px; padding-top: 10px; border-top: 1px solid var(--line); }
@media (max-width: 900px) {
  .tiles { grid-template-columns: repeat(auto-fill, minmax(104px, 1fr)); }
}
@media (max-width: 640px) {
  main, header, footer { padding: 0 12px; }
  h1 { font-size: 22px; }
  .panel { padding: 8px; }
  th:first-child, td:first-child { min-width: 100px; max-width: 130px; }
  th.plain:first-child { overflow-wrap: break-word; min-width: 112px; }
}
@media print {
  body { font-size: 11px; }
  h2, h3, h4 { break-after: avoid; }
  nav { display: none; }
  .wide { overflow: visible; }
  table { font-size: 8.5px; }
  th, td, thead th { padding: 2px 3px; font-size: 7.5px; }
  thead th:first-child, th:first-child { font-size: 8px; min-width: 70px; }
  .tiles { grid-template-columns: repeat(8, 1fr); gap: 4px; }
  td small { font-size: 6.5px; white-space: normal; }
  th .soft { font-size: inherit; }
  main, header, footer { padding: 0; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""
