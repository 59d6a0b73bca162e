"""The one style sheet of the report, for light and dark pages and for print."""

STYLE = """
:root { color-scheme: light dark; --page:#f3f5f7; --surface:#fff; --ink:#1d252c; --muted:#5f6b76; --line:#e1e6ea;
  --accent:#0072b2; --good:#00795a; --bad:#b8330f; --warn:#8a5f00; --soft:#eaf3f9; }
@media (prefers-color-scheme: dark) { :root { --page:#10161c; --surface:#182028; --ink:#e6ebf0; --muted:#9aa7b4;
  --line:#2c3742; --accent:#56b4e9; --good:#3fcf9f; --bad:#ff8a65; --warn:#f2b632; --soft:#1d2d3a; } }
* { box-sizing: border-box; }
body { margin:0; background:var(--page); color:var(--ink); line-height:1.5; font-size:15px; font-family:
  system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif; }
main, header > div { max-width: 1120px; margin: 0 auto; padding: 0 24px; }
header { background: linear-gradient(120deg, #0b3a57, #0a6a86 70%, #12806f); color:#fff; padding: 34px 0 30px; }
header p { margin: 6px 0 0; color:#d5e6ee; }
header .verdict { font-size: 18px; color:#fff; margin-top: 16px; max-width: 880px; }
h1 { margin:0; font-size: 28px; letter-spacing:-.01em; }
h2 { font-size: 20px; margin: 40px 0 6px; }
h3 { font-size: 15px; margin: 0 0 4px; }
section > p { margin: 0 0 14px; color: var(--muted); max-width: 860px; }
.cards { display:grid; gap:14px; grid-template-columns: repeat(var(--n), 1fr); margin-top: 24px; }
.box { background:var(--surface); border:1px solid var(--line); border-radius:12px; padding:16px 18px; }
.card .name { font-size:13px; font-weight:600; color:var(--muted); }
.card .value { font-size:30px; font-weight:650; letter-spacing:-.02em; line-height:1.2; margin:2px 0;
  font-variant-numeric: tabular-nums; }
.card .count { font-size:13px; font-weight:500; }
.card p { margin:8px 0 0; font-size:13px; color:var(--muted); }
.bar { display:flex; height:26px; border-radius:8px; overflow:hidden; margin: 4px 0 12px; gap:2px; }
.bar span { display:block; min-width:3px; }
.key { display:flex; flex-wrap:wrap; gap:6px 22px; font-size:14px; }
.key i { display:inline-block; width:11px; height:11px; border-radius:3px; margin-right:7px; }
.plots { display:grid; gap:14px; grid-template-columns: 1fr 1fr; }
.wide { grid-column: 1 / -1; }
figure { margin:0; }
figure img { display:block; max-width:100%; height:auto; margin:0 auto; }
figcaption { font-size:13.5px; color:var(--muted); margin-top:8px; }
figcaption b { color:var(--ink); }
.pairs { display:grid; gap:14px; grid-template-columns: repeat(auto-fill, minmax(min(100%, 500px), 1fr)); }
.shots { display:grid; gap:8px; grid-auto-flow:column; grid-auto-columns:1fr; }
.shots img, .shots .none { width:100%; display:block; border-radius:7px; object-fit:fill; background:var(--page); }
.shots .none { display:flex; align-items:center; justify-content:center; color:var(--muted); font-size:13px; }
.shots .cap { font-size:12.5px; color:var(--muted); margin-top:4px; }
.shots .cap b { color:var(--ink); font-weight:600; }
.verdict-line { margin:9px 0 0; font-size:14px; }
.tag { font-weight:650; }
.good { color:var(--good); }
.bad { color:var(--bad); }
.warn { color:var(--warn); }
.scroll { overflow-x:auto; }
table { border-collapse:collapse; width:100%; font-size:14px; font-variant-numeric:tabular-nums; }
th, td { padding:8px 12px; text-align:right; border-bottom:1px solid var(--line); }
th:first-child, td:first-child { text-align:left; }
th { color:var(--muted); font-weight:600; font-size:13px; }
tr:last-child td { border-bottom:0; }
td.text { text-align:left; }
td.share { background: linear-gradient(to right, var(--soft) var(--w), transparent var(--w)); }
dl { display:grid; grid-template-columns: 190px 1fr; gap:6px 16px; margin:0; font-size:14px; }
dt { color:var(--muted); }
dd { margin:0; overflow-wrap:anywhere; }
code, pre { font-family: ui-monospace, "DejaVu Sans Mono", Consolas, monospace; font-size:13px; }
pre { overflow-x:auto; margin:10px 0 0; }
details { margin-top:14px; }
summary { cursor:pointer; color:var(--accent); }
footer { color:var(--muted); font-size:13px; margin: 40px 0 30px; }
@media (max-width: 860px) { .cards { grid-template-columns: 1fr 1fr; } .plots { grid-template-columns: 1fr; } dl {
  grid-template-columns: 1fr; gap:0; } dd { margin-bottom:8px; } }
@media (max-width: 460px) { .cards { grid-template-columns: 1fr; } main, header > div { padding: 0 14px; } }
@media print { body { background:#fff; } .box { break-inside: avoid; } header { print-color-adjust: exact; } }
"""
